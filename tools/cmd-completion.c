/* SPDX-License-Identifier: MIT */
/*
 * cmd-completion.c - ipcmap completion: what bash, zsh or fish need to complete command lines
 *
 * Made from the table of verbs, so it is never behind. Names of maps come from /dev/shm, where
 * anybody may make a file of any name, and shells evaluate what they are offered: only names
 * of plain characters are.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "out.h"

static const struct opt opts[] = {OPT_END};

#define VERB_POINTER(v) &cmd_##v,
static const struct verb *const verbs[] = {VERBS(VERB_POINTER)};
#define N_VERBS (sizeof verbs / sizeof *verbs)

/* Names of maps, one a line. */
#define MAPS                                                                                   \
	"command ipcmap ls 2>/dev/null | command sed -n "                                      \
	"'2,$ s/^\\([A-Za-z0-9_][A-Za-z0-9_.-]*\\)  .*/\\1/p'"

#define OPERANDS_MAX 4

/* What to offer for an operand: words with a space between, "map", "file", or "-" nothing. */
struct offer {
	char what[64];
};

/* "NAME [FILE|-]" says it: NAME is a map, FILE a file, small letters are words. */
static struct offer offer_for(const char *operand, size_t len)
{
	struct offer o = {"-"};

	while (len && strchr("[]", operand[len - 1]))
		len--;
	while (len && *operand == '[')
		operand++, len--;
	if (len == 4 && memcmp(operand, "NAME", 4) == 0)
		strcpy(o.what, "map");
	else if (len >= 4 && memmem(operand, len, "FILE", 4))
		strcpy(o.what, "file");
	else if (len == 3 && memcmp(operand, "...", 3) == 0)
		strcpy(o.what, "file");
	else if (len && len < sizeof o.what && islower((unsigned char)*operand))
		snprintf(o.what, sizeof o.what, "%.*s", (int)len, operand);
	for (char *s = o.what; (s = strchr(s, '|'));)
		*s = ' ';
	return o;
}

/* The operands of a verb, those that are options left out. */
static size_t offers(const struct verb *v, struct offer ret[OPERANDS_MAX])
{
	const char *s = v->operands;
	size_t n = 0;

	while (*s && *s != '-' && n < OPERANDS_MAX) {
		size_t len = strcspn(s, " ");

		ret[n++] = offer_for(s, len);
		s += len + (s[len] == ' ');
	}
	while (n && strcmp(ret[n - 1].what, "-") == 0)
		n--;
	return n;
}

/* Text for between single quotes of any of the three. */
static void quote(const char *s)
{
	for (; *s; s++) {
		if (*s == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*s);
	}
}

/* ---- bash ---- */

static void bash_words(const struct verb *v, bool with_arg)
{
	bool first = true;

	for (const struct opt *o = v->opts; o->name; o++) {
		if (with_arg && !opt_needs_arg(o))
			continue;
		printf("%s--%s", first ? "" : with_arg ? "|" : " ", o->name);
		if (with_arg && o->id < OPT_HELP)
			printf("|-%c", o->id);
		first = false;
	}
	if (!with_arg)
		printf("%s--help", first ? "" : " ");
}

static bool has_arg(const struct verb *v)
{
	for (const struct opt *o = v->opts; o->name; o++)
		if (opt_needs_arg(o))
			return true;
	return false;
}

static void bash(void)
{
	puts("# bash completion of ipcmap; made by 'ipcmap completion bash'\n"
	     "_ipcmap() {\n"
	     "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
	     "\tlocal verb=${COMP_WORDS[1]} options='' valued='' offers=() i n=0\n"
	     "\tCOMPREPLY=()");
	fputs("\tif ((COMP_CWORD == 1)); then\n\t\tmapfile -t COMPREPLY < <(compgen -W '",
	      stdout);
	for (size_t i = 0; i < N_VERBS; i++)
		printf("%s ", verbs[i]->name);
	puts("--help --version' -- \"$cur\")\n\t\treturn\n\tfi\n\tcase $verb in");
	for (size_t i = 0; i < N_VERBS; i++) {
		const struct verb *v = verbs[i];
		struct offer o[OPERANDS_MAX];
		size_t n;

		printf("\t%s) options='", v->name);
		bash_words(v, false);
		if (has_arg(v)) {
			fputs("' valued='", stdout);
			bash_words(v, true);
		}
		fputs("' offers=(", stdout);
		n = offers(v, o);
		for (size_t k = 0; k < n; k++)
			printf("%s'%s'", k ? " " : "", o[k].what);
		puts(") ;;");
	}
	puts("\tesac");
	puts("\t[[ -n $valued && $prev =~ ^($valued)$ ]] && return\n"
	     "\tif [[ $cur == -* ]]; then\n"
	     "\t\tmapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n"
	     "\t\treturn\n"
	     "\tfi\n"
	     "\t# operands before this word\n"
	     "\tfor ((i = 2; i < COMP_CWORD; i++)); do\n"
	     "\t\t[[ -n $valued && ${COMP_WORDS[i]} =~ ^($valued)$ ]] && { ((i++)); continue; "
	     "}\n"
	     "\t\t[[ ${COMP_WORDS[i]} == -?* ]] || ((n++))\n"
	     "\tdone\n"
	     "\tcase ${offers[n]} in\n"
	     "\t'' | -) ;;\n"
	     "\tmap)\n"
	     "\t\tif [[ ${cur:1} == */* ]]; then\n"
	     "\t\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
	     "\t\t\treturn\n"
	     "\t\tfi\n"
	     "\t\tmapfile -t COMPREPLY < <(compgen -W \"$(" MAPS ")\" -- \"${cur#/}\")\n"
	     "\t\t[[ $cur == /* ]] && COMPREPLY=(\"${COMPREPLY[@]/#//}\")\n"
	     "\t\t;;\n"
	     "\tfile) mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
	     "\t*) mapfile -t COMPREPLY < <(compgen -W \"${offers[n]}\" -- \"$cur\") ;;\n"
	     "\tesac\n"
	     "}\n"
	     "complete -F _ipcmap ipcmap");
}

/* ---- zsh ---- */

/* Text in an _arguments specification: brackets and colons mean something there. */
static void zsh_text(const char *s)
{
	for (; *s; s++) {
		if (strchr("[]:\\", *s))
			putchar('\\');
		if (*s == '\'')
			fputs("'\\'", stdout);
		putchar(*s);
	}
}

static void zsh_option(const struct opt *o)
{
	for (int letter = o->id < OPT_HELP; letter >= 0; letter--) {
		if (letter)
			printf(" \\\n\t\t\t'-%c", o->id);
		else
			printf(" \\\n\t\t\t'--%s%s", o->name, opt_needs_arg(o) ? "=" : "");
		putchar('[');
		zsh_text(o->help);
		putchar(']');
		if (opt_needs_arg(o)) {
			putchar(':');
			zsh_text(o->arg);
			putchar(':');
		}
		putchar('\'');
	}
}

static void zsh_operand(size_t i, const struct offer *o)
{
	printf(" \\\n\t\t\t'%zu:", i);
	if (strcmp(o->what, "map") == 0)
		fputs("map:_ipcmap_maps'", stdout);
	else if (strcmp(o->what, "file") == 0)
		fputs("file:_files'", stdout);
	else if (strcmp(o->what, "-") == 0)
		fputs("word: '", stdout);
	else
		printf("word:(%s)'", o->what);
}

static void zsh(void)
{
	puts("#compdef ipcmap\n"
	     "# zsh completion of ipcmap; made by 'ipcmap completion zsh'\n"
	     "_ipcmap_maps() {\n"
	     "\tlocal -a maps\n"
	     "\tmaps=(${(f)\"$(" MAPS ")\"})\n"
	     "\tcompadd -a maps\n"
	     "\t[[ $PREFIX == */* ]] && { maps=(/$^maps); compadd -a maps; _files }\n"
	     "}\n"
	     "_ipcmap() {\n"
	     "\tlocal -a verbs\n"
	     "\tverbs=(");
	for (size_t i = 0; i < N_VERBS; i++) {
		printf("\t\t'%s:", verbs[i]->name);
		zsh_text(verbs[i]->summary);
		puts("'");
	}
	puts("\t)\n"
	     "\tif ((CURRENT == 2)); then\n"
	     "\t\t_describe verb verbs\n"
	     "\t\treturn\n"
	     "\tfi\n"
	     "\tlocal verb=$words[2]\n"
	     "\tshift words\n"
	     "\t((CURRENT--))\n"
	     "\tcase $verb in");
	for (size_t i = 0; i < N_VERBS; i++) {
		const struct verb *v = verbs[i];
		struct offer o[OPERANDS_MAX];
		size_t n;

		printf("\t%s)\n\t\t_arguments -s '--help[print its options]'", v->name);
		for (const struct opt *opt = v->opts; opt->name; opt++)
			zsh_option(opt);
		n = offers(v, o);
		for (size_t k = 0; k < n; k++)
			zsh_operand(k + 1, &o[k]);
		puts("\n\t\t;;");
	}
	puts("\tesac\n}\n"
	     "if [[ $funcstack[1] == _ipcmap ]]; then _ipcmap \"$@\"; else compdef _ipcmap "
	     "ipcmap; fi");
}

/* ---- fish ---- */

static void fish_option(const struct verb *v, const struct opt *o)
{
	printf("complete -c ipcmap -n '__fish_seen_subcommand_from %s' -l %s", v->name,
	       o->name);
	if (o->id < OPT_HELP)
		printf(" -s %c", o->id);
	printf("%s -d '", opt_needs_arg(o) ? " -x" : "");
	for (const char *s = o->help; *s; s++) {
		if (*s == '\'' || *s == '\\')
			putchar('\\');
		putchar(*s);
	}
	puts("'");
}

static void fish_operand(const struct verb *v, size_t i, const struct offer *o)
{
	if (strcmp(o->what, "-") == 0)
		return;
	printf("complete -c ipcmap -n '__fish_seen_subcommand_from %s; and test "
	       "(__ipcmap_operands) -eq %zu' ",
	       v->name, i);
	if (strcmp(o->what, "map") == 0)
		puts("-a '(__ipcmap_maps)'");
	else if (strcmp(o->what, "file") == 0)
		puts("-F");
	else
		printf("-a '%s'\n", o->what);
}

static void fish(void)
{
	puts("# fish completion of ipcmap; made by 'ipcmap completion fish'\n"
	     "function __ipcmap_maps\n"
	     "\t" MAPS "\n"
	     "end\n"
	     "# the number of operands after the verb\n"
	     "function __ipcmap_operands\n"
	     "\tcount (string match -v -- '-*' (commandline -opc)[3..-1])\n"
	     "end\n"
	     "complete -c ipcmap -f");
	for (size_t i = 0; i < N_VERBS; i++) {
		const struct verb *v = verbs[i];
		struct offer o[OPERANDS_MAX];
		size_t n;

		printf("complete -c ipcmap -n __fish_use_subcommand -a %s -d '", v->name);
		quote(v->summary);
		puts("'");
		for (const struct opt *opt = v->opts; opt->name; opt++)
			fish_option(v, opt);
		n = offers(v, o);
		for (size_t k = 0; k < n; k++)
			fish_operand(v, k, &o[k]);
	}
}

static int run(struct args *a)
{
	const char *shell;

	args_next(a);
	shell = args_take(a, "SHELL");
	args_end(a);
	if (strcmp(shell, "bash") == 0)
		bash();
	else if (strcmp(shell, "zsh") == 0)
		zsh();
	else if (strcmp(shell, "fish") == 0)
		fish();
	else
		args_usage(a, "%s: not bash, zsh or fish", shell);
	return DONE;
}

const struct verb cmd_completion = {
	.name = "completion",
	.operands = "bash|zsh|fish",
	.summary = "what a shell needs to complete command lines",
	.opts = opts,
	.notes = "For example, in ~/.bashrc: eval \"$(ipcmap completion bash)\"\n",
	.run = run,
};
