/* SPDX-License-Identifier: MIT */
/*
 * opt.c - options and operands of a verb, and the numbers in them
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cmd.h"
#include "ipcmap.h"
#include "out.h"

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

void args_start(struct args *a, const struct verb *verb, int argc, char **argv)
{
	size_t n = 0, s = 0;

	*a = (struct args){.verb = verb, .argc = argc, .argv = argv};
	a->shorts[s++] = ':'; /* tells a missing argument from an unknown option */
	for (const struct opt *o = verb->opts; o->name; o++) {
		a->longs[n++] = (struct option){
			o->name,
			opt_needs_arg(o) ? required_argument
			: o->arg         ? optional_argument
					 : no_argument,
			NULL, o->id};
		if (o->id < OPT_HELP) {
			a->shorts[s++] = (char)o->id;
			if (opt_needs_arg(o))
				a->shorts[s++] = ':';
		}
	}
	a->longs[n] = (struct option){"help", no_argument, NULL, OPT_HELP};
	opterr = 0;
}

/* How many options begin with @word, up to a = in it. */
static size_t n_meant(const struct args *a, const char *word)
{
	size_t n = 0, len = strcspn(word, "=");

	for (const struct option *o = a->longs; o->name; o++)
		n += strncmp(o->name, word, len) == 0;
	return n;
}

static _Noreturn void option_error(const struct args *a, int c)
{
	const char *word = a->argv[optind - 1];

	if (c == ':')
		args_usage(a, "%s needs an argument", word);
	if (strncmp(word, "--", 2) == 0 && optopt)
		args_usage(a, "%s: this option takes no argument", word);
	if (strncmp(word, "--", 2) == 0)
		args_usage(a, "%s: %s", word,
			   n_meant(a, word + 2) ? "short for several options"
						: "no such option");
	args_usage(a, "-%c: no such option; write -- before operands that begin with -",
		   isprint(optopt) ? optopt : '?');
}

int args_next(struct args *a)
{
	for (;;) {
		int c = getopt_long(a->argc, a->argv, a->shorts, a->longs, NULL);

		switch (c) {
		case OPT_HELP:
			opt_help(a->verb);
			exit(out_end(DONE));
		case OPT_JSON:
			a->json = true;
			break;
		case OPT_HEX:
			a->code = TEXT_HEX;
			break;
		case OPT_BASE64:
			a->code = TEXT_BASE64;
			break;
		case OPT_FOREIGN:
			a->foreign = true;
			break;
		case OPT_TIMEOUT:
			a->timeout_ns = IPCMAP_FOREVER;
			if (strcmp(optarg, "none") != 0)
				a->timeout_ns = opt_duration(a, "--timeout", optarg);
			if (a->timeout_ns == 0)
				a->timeout_ns = IPCMAP_NOWAIT;
			break;
		case ':':
		case '?':
			option_error(a, c);
		default:
			return c;
		}
	}
}

const char *args_more(struct args *a)
{
	return optind < a->argc ? a->argv[optind++] : NULL;
}

const char *args_take(struct args *a, const char *what)
{
	const char *arg = args_more(a);

	if (!arg)
		args_usage(a, "%s is missing", what);
	if (!*arg && strcmp(what, "NAME") == 0)
		args_usage(a, "NAME is empty");
	return arg;
}

void args_end(struct args *a)
{
	if (optind < a->argc)
		args_usage(a, "%s: one argument too many", a->argv[optind]);
}

const void *args_bytes(struct args *a, const char *what, const char *arg, size_t *ret_len)
{
	void *bytes = text_decode(a->code, arg, ret_len);

	if (!bytes)
		args_usage(a, "%s: %s is not %s", arg, what,
			   a->code == TEXT_HEX ? "hexadecimal (two digits a byte)" : "base64");
	return bytes;
}

const void *args_key(struct args *a, size_t *ret_len)
{
	const void *key = args_bytes(a, "KEY", args_take(a, "KEY"), ret_len);

	if (*ret_len < 1 || *ret_len > IPCMAP_KEY_MAX)
		args_usage(a, "KEY has %zu bytes: a key has 1 to %u", *ret_len, IPCMAP_KEY_MAX);
	return key;
}

_Noreturn void args_usage(const struct args *a, const char *fmt, ...)
{
	va_list ap;
	char *msg = NULL, *shown;

	va_start(ap, fmt);
	if (vasprintf(&msg, fmt, ap) < 0)
		die_nomem();
	va_end(ap);
	shown = text_escape(msg, strlen(msg));
	say(a->verb->name, "%s", shown ? shown : "?");
	fprintf(stderr, "usage: ipcmap %s %s%s\n", a->verb->name, a->verb->operands,
		a->verb->opts->name ? " [OPTION]..." : "");
	exit(USAGE);
}

/* Digits from the start of *s; false when there are none or too many for 64 bits. */
static bool digits(const char **s, int base, uint64_t *ret)
{
	char *end;

	if (!isxdigit((unsigned char)**s)) /* strtoull() takes signs and spaces */
		return false;
	errno = 0;
	*ret = strtoull(*s, &end, base);
	if (end == *s || errno)
		return false;
	*s = end;
	return true;
}

uint64_t opt_number(const struct args *a, const char *what, const char *arg, int base,
		    uint64_t max)
{
	const char *s = arg;
	uint64_t n;

	if (!digits(&s, base, &n) || *s)
		args_usage(a, "%s %s: not %s number", what, arg, base == 8 ? "an octal" : "a");
	if (n > max)
		args_usage(a, base == 8 ? "%s %s: more than %llo" : "%s %s: more than %llu",
			   what, arg, (unsigned long long)max);
	return n;
}

int64_t opt_integer(const struct args *a, const char *what, const char *arg)
{
	bool minus = *arg == '-';
	const char *s = arg + (minus || *arg == '+');
	uint64_t n, most = (uint64_t)INT64_MAX + minus;

	if (!digits(&s, 10, &n) || *s)
		args_usage(a, "%s %s: not an integer of 64 bits", what, arg);
	if (n > most)
		args_usage(a, "%s %s: beyond 64 bits", what, arg);
	return minus ? (int64_t)(0 - n) : (int64_t)n;
}

uint64_t opt_size(const struct args *a, const char *what, const char *arg)
{
	static const char units[] = "KMGT";
	const char *s = arg, *unit;
	unsigned shift = 0;
	uint64_t n;

	if (!digits(&s, 10, &n)) {
		if (isdigit((unsigned char)*arg))
			args_usage(a, "%s %s: too large", what, arg);
		args_usage(a, "%s %s: not a size; sizes are like 65536, 64K, 64M, 2G", what,
			   arg);
	}
	unit = *s ? strchr(units, toupper((unsigned char)*s)) : NULL;
	if (unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		s++;
		if (strcasecmp(s, "iB") == 0 || strcasecmp(s, "B") == 0)
			s += strlen(s);
	}
	if (*s)
		args_usage(a, "%s %s: not a size; sizes are like 65536, 64K, 64M, 2G", what,
			   arg);
	if (n > UINT64_MAX >> shift)
		args_usage(a, "%s %s: too large", what, arg);
	if (n == 0)
		args_usage(a, "%s %s: must be more than 0", what, arg);
	return n << shift;
}

/* A duration at the start of *s; 0 when there is one, else what is wrong with it. */
static const char *duration(const char **s, uint64_t *ret_ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
		{"ms", NS_PER_MS},	 {"us", 1000},	       {"ns", 1},
		{"s", NS_PER_S},	 {"m", 60 * NS_PER_S}, {"h", 3600 * NS_PER_S},
		{"d", 86400 * NS_PER_S},
	};
	static const char *const form =
		"not a duration; durations are like 500ms, 5s, 5m, 2h, 1d";
	uint64_t n;

	if (!digits(s, 10, &n))
		return isdigit((unsigned char)**s) ? "too long" : form;
	if (n == 0 && (**s == 0 || **s == '~')) {
		*ret_ns = 0;
		return NULL;
	}
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		size_t len = strlen(units[i].name);

		if (strncmp(*s, units[i].name, len) != 0)
			continue;
		/* the topmost numbers are names: IPCMAP_TTL_NONE and its like */
		if (n > (UINT64_MAX >> 1) / units[i].ns)
			return "too long";
		*s += len;
		*ret_ns = n * units[i].ns;
		return NULL;
	}
	return form;
}

uint64_t opt_duration(const struct args *a, const char *what, const char *arg)
{
	const char *s = arg;
	uint64_t ns = 0;
	const char *wrong = duration(&s, &ns);

	if (!wrong && *s)
		wrong = "not a duration; durations are like 500ms, 5s, 5m, 2h, 1d";
	if (wrong)
		args_usage(a, "%s %s: %s", what, arg, wrong);
	return ns;
}

unsigned opt_compress(const struct args *a, const char *what, const char *arg)
{
	uint64_t n;

	if (strcmp(arg, "none") == 0)
		return IPCMAP_COMPRESS_OFF;
	n = opt_size(a, what, arg);
	if (n >= IPCMAP_COMPRESS_OFF)
		args_usage(a, "%s %s: no value is so long", what, arg);
	return (unsigned)n;
}

int opt_word(const struct args *a, const char *what, const char *arg, const char *zero,
	     const char *one)
{
	if (strcmp(arg, zero) != 0 && strcmp(arg, one) != 0)
		args_usage(a, "%s %s: is not %s or %s", what, arg, zero, one);
	return strcmp(arg, one) == 0;
}

uint64_t opt_ttl(const struct args *a, const char *what, const char *arg, unsigned *ret_jitter)
{
	const char *s = arg;
	uint64_t ns = 0, percent = 0;
	const char *wrong;

	if (strcmp(arg, "none") == 0)
		return IPCMAP_TTL_NONE;
	wrong = duration(&s, &ns);
	if (!wrong && ns == 0)
		wrong = "must be longer than 0";
	if (!wrong && *s == '~' && ret_jitter) {
		s++;
		if (!digits(&s, 10, &percent) || *s++ != '%' || *s || percent > 100)
			wrong = "after ~ comes a share from 0% to 100%";
	} else if (!wrong && *s) {
		wrong = "not a duration; durations are like 500ms, 5s, 5m, 2h, 1d";
	}
	if (wrong)
		args_usage(a, "%s %s: %s", what, arg, wrong);
	if (ret_jitter)
		*ret_jitter = (unsigned)percent;
	return ns;
}

/* "-l, --long" or "    --size S" */
static int spell(const struct opt *o, char *buf, size_t cap)
{
	char letter[8] = "    ";

	if (o->id < OPT_HELP)
		snprintf(letter, sizeof letter, "-%c, ", o->id);
	return snprintf(buf, cap, "%s--%s%s%s", letter, o->name, opt_needs_arg(o) ? " " : "",
			o->arg ? o->arg : "");
}

void opt_help(const struct verb *verb)
{
	static const struct opt help = {OPT_HELP, "help", NULL, "print this"};
	int width = 0;
	char buf[64];

	printf("usage: ipcmap %s %s%s\n\n%s\n\n", verb->name, verb->operands,
	       verb->opts->name ? " [OPTION]..." : "", verb->summary);
	for (const struct opt *o = verb->opts; o->name; o++) {
		int n = spell(o, buf, sizeof buf);

		width = n > width ? n : width;
	}
	for (const struct opt *o = verb->opts; o->name; o++) {
		spell(o, buf, sizeof buf);
		printf("  %-*s  %s\n", width, buf, o->help);
	}
	spell(&help, buf, sizeof buf);
	printf("  %-*s  %s\n", width, buf, help.help);
	if (verb->notes)
		printf("\n%s", verb->notes);
}
