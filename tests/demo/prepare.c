/* SPDX-License-Identifier: MIT */
/*
 * prepare.c - Debian's package index from stdin: as JSON lines, and as the demo's oracle
 *
 *	prepare ORACLE <index >jsonl
 *
 * A record's key is the package's name, its value the whole stanza. The first of several
 * stanzas of a name counts. What is not UTF-8 cannot be a JSON string and is left out.
 */
#include <locale.h>
#include <search.h>

#include "demo.h"

/* Keys come one after another, so they are collected before the oracle's size is known. */
struct keys {
	struct demo_key *at;
	size_t n;
	char *names;
	size_t names_len;
	size_t names_cap;
	void *seen;
};

static void *grown(void *p, size_t size)
{
	p = realloc(p, size);
	if (!p)
		demo_die("prepare", "out of memory");
	return p;
}

static void print_string(const char *s, size_t len)
{
	putchar('"');
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c == '\n')
			fputs("\\n", stdout);
		else if (c < 0x20)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void add_key(struct keys *keys, const char *name, const char *value, size_t value_len)
{
	size_t len = strlen(name);
	struct demo_key *k;

	if ((keys->n & (keys->n + 1)) == 0) /* room doubles at 2^n - 1 */
		keys->at = grown(keys->at, (2 * keys->n + 2) * sizeof *keys->at);
	if (keys->names_len + len > keys->names_cap) {
		keys->names_cap = 2 * (keys->names_len + len);
		keys->names = grown(keys->names, keys->names_cap);
	}
	k = &keys->at[keys->n++];
	memset(k, 0, sizeof *k);
	k->at = (uint32_t)keys->names_len;
	k->len = (uint32_t)len;
	k->val_len = value_len;
	k->val_hash = value ? demo_hash(0, value, value_len) : 0;
	memcpy(keys->names + keys->names_len, name, len);
	keys->names_len += len;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void add_stanza(struct keys *keys, const char *text, size_t len)
{
	static const char field[] = "Package: ";
	const char *name = text;
	char *key;

	while (name && strncmp(name, field, sizeof field - 1) != 0) {
		name = strchr(name, '\n');
		name = name ? name + 1 : NULL;
	}
	if (!name || memchr(text, 0, len) || mbstowcs(NULL, text, 0) == (size_t)-1)
		return;
	name += sizeof field - 1;
	key = strndup(name, strcspn(name, "\n"));
	if (!key)
		demo_die("prepare", "out of memory");
	if (!*key || tfind(key, &keys->seen, by_name)) {
		free(key);
		return;
	}
	tsearch(key, &keys->seen, by_name);
	add_key(keys, key, text, len);
	fputs("{\"key\":", stdout);
	print_string(key, strlen(key));
	fputs(",\"value\":", stdout);
	print_string(text, len);
	fputs("}\n", stdout);
}

static void read_index(struct keys *keys)
{
	char *line = NULL, *text = NULL;
	size_t cap = 0, len = 0, text_cap = 0;
	ssize_t n;

	while ((n = getline(&line, &cap, stdin)) >= 0) {
		if (n <= 1) {
			if (len)
				add_stanza(keys, text, len);
			len = 0;
			continue;
		}
		if (len + (size_t)n + 1 > text_cap) {
			text_cap = 2 * (len + (size_t)n + 1);
			text = grown(text, text_cap);
		}
		memcpy(text + len, line, (size_t)n + 1);
		len += (size_t)n;
	}
	if (len)
		add_stanza(keys, text, len);
	free(line);
	free(text);
}

static void write_oracle(const char *path, struct keys *keys)
{
	struct demo d = {.magic = DEMO_MAGIC};
	size_t at = sizeof d + keys->n * sizeof *keys->at;
	FILE *f = fopen(path, "wx");

	if (!f)
		demo_die(path, strerror(errno));
	for (size_t i = 0; i < keys->n; i++)
		keys->at[i].at += (uint32_t)at;
	d.size = at + keys->names_len;
	d.n_keys = (uint32_t)keys->n;
	d.n_loaded = d.n_keys - DEMO_CONFIG;
	fwrite(&d, sizeof d, 1, f);
	fwrite(keys->at, sizeof *keys->at, keys->n, f);
	fwrite(keys->names, 1, keys->names_len, f);
	if (ferror(f) | fclose(f))
		demo_die(path, strerror(errno));
}

int main(int argc, char **argv)
{
	struct keys keys = {0};

	if (argc != 2)
		demo_die("usage", "prepare ORACLE <index >jsonl");
	setlocale(LC_CTYPE, "C.UTF-8");
	read_index(&keys);
	if (keys.n < DEMO_WORKERS * DEMO_HOT)
		demo_die("prepare", "too few packages in the index");
	for (unsigned i = 0; i < DEMO_CONFIG; i++) {
		char name[32];

		snprintf(name, sizeof name, "config/%02u", i);
		add_key(&keys, name, NULL, 0);
	}
	write_oracle(argv[1], &keys);
	if (ferror(stdout) | fclose(stdout))
		demo_die("standard output", strerror(errno));
	return 0;
}
