/* SPDX-License-Identifier: MIT */
/*
 * sessions.c - the sessions of a web site, shared by all processes that serve it
 *
 *	sessions [-t SECONDS] NAME VERB [ARGUMENT ...]
 *
 *	login USER		prints the id of a new session and its token
 *	who ID			prints the user, and keeps the session alive
 *	rotate ID TOKEN		exchanges the token for a new one and prints that
 *	spin ID TIMES		rotates that often, whichever the token is
 *	logout ID
 *	list			id, user, seconds left, rotations
 *
 * A session is a key "session:ID". It expires SECONDS (half an hour) after its last use: each
 * look gives it a new life, by ipcmap_get_touch(), which writes only when half of the life is
 * over. A token is good for one rotation: of several processes that present it one gets the
 * new token, because that is stored only over the version that was read (IPCMAP_IF_VERSION).
 * Status: 0 done, 1 refused or no such session, 2 usage, 3 anything else. By hand:
 *
 *	cc -o sessions sessions.c $(pkg-config --cflags --libs ipcmap)
 *	./sessions /sessions login jane; ./sessions /sessions list; ipcmap rm /sessions
 */
#include <ipcmap.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define PREFIX "session:"
#define ID_LEN 32 /* hexadecimal digits: 128 random bits */
#define VALUE_CAP 160

/* As stored: three words of text, which `ipcmap get` can show. */
struct session {
	char user[64];
	char token[ID_LEN + 1];
	unsigned rotations;
};

static void make_id(char *id)
{
	unsigned char bits[ID_LEN / 2];

	if (getrandom(bits, sizeof(bits), 0) != sizeof(bits))
		abort(); /* a session id that can be guessed is worse than none */
	for (size_t i = 0; i < sizeof(bits); i++)
		sprintf(id + 2 * i, "%02x", bits[i]);
}

static int pack(const struct session *s, char *val)
{
	return snprintf(val, VALUE_CAP, "%s %s %u", s->user, s->token, s->rotations);
}

/* A value is bytes, not a string, and anybody may have stored it. */
static int unpack(const void *val, size_t len, struct session *ret)
{
	char text[VALUE_CAP];

	if (len >= sizeof(text))
		return IPCMAP_TYPE;
	memcpy(text, val, len);
	text[len] = '\0';
	if (sscanf(text, "%63s %32s %u", ret->user, ret->token, &ret->rotations) != 3)
		return IPCMAP_TYPE;
	return 0;
}

static int login(struct ipcmap *map, const char *user, uint64_t life_ns)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	char id[ID_LEN + 1], key[sizeof(PREFIX) + ID_LEN], val[VALUE_CAP];
	struct session s = {.rotations = 0};
	int rc;

	if (!*user || strlen(user) >= sizeof(s.user) || strpbrk(user, " \t\n"))
		return IPCMAP_INVALID;
	strcpy(s.user, user);
	make_id(s.token);
	make_id(id);
	sprintf(key, PREFIX "%s", id);
	how.flags = IPCMAP_IF_ABSENT; /* never take over somebody's session */
	how.ttl_ns = life_ns;
	rc = ipcmap_put(map, key, strlen(key), val, (size_t)pack(&s, val), &how);
	if (rc == 0)
		printf("%s %s\n", id, s.token);
	return rc;
}

static int who(struct ipcmap *map, const char *key, uint64_t life_ns)
{
	char buf[VALUE_CAP];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	struct session s;
	int rc = ipcmap_get_touch(map, key, strlen(key), life_ns, &v);

	if (rc == 0)
		rc = unpack(buf, v.len, &s);
	if (rc == 0)
		printf("%s\n", s.user);
	return rc;
}

/* Exchange this token, or whichever is there when it is NULL; MISMATCH: it is another one. */
static int rotate(struct ipcmap *map, const char *key, const char *token, uint64_t life_ns,
		  char *ret_token)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	char buf[VALUE_CAP], val[VALUE_CAP];
	struct ipcmap_value seen = {.buf = buf, .cap = sizeof(buf)};
	struct session s;
	size_t len;
	int rc = ipcmap_getx(map, key, strlen(key), &seen);

	while (rc == 0 || rc == IPCMAP_MISMATCH) { /* seen has what is there now */
		rc = unpack(buf, seen.len, &s);
		if (rc != 0)
			return rc;
		if (token && strcmp(token, s.token) != 0)
			return IPCMAP_MISMATCH;
		make_id(s.token);
		s.rotations++;
		how.flags = IPCMAP_IF_VERSION;
		how.version = seen.version;
		how.ttl_ns = life_ns;
		len = (size_t)pack(&s, val);
		rc = ipcmap_putx(map, key, strlen(key), val, len, &how, &seen);
		if (rc == 0) {
			strcpy(ret_token, s.token);
			return 0;
		}
	}
	return rc;
}

static int show(void *arg, const struct ipcmap_item *item)
{
	const size_t skip = strlen(PREFIX);
	struct session s;

	(void)arg;
	if (unpack(item->val, item->val_len, &s) == 0)
		printf("%.*s %s %.0f %u\n", (int)(item->key_len - skip),
		       (const char *)item->key + skip, s.user, (double)item->ttl_left_ns / 1e9,
		       s.rotations);
	return 0;
}

static int run(struct ipcmap *map, const char *verb, const char *id, const char *more,
	       uint64_t life_ns)
{
	char key[sizeof(PREFIX) + ID_LEN] = PREFIX, token[ID_LEN + 1] = "";
	uint64_t cursor = 0;
	int rc = 0;

	if (strcmp(verb, "list") == 0)
		return ipcmap_scan(map, &cursor, PREFIX, strlen(PREFIX), 0, show, NULL);
	if (strcmp(verb, "login") == 0)
		return login(map, id, life_ns);
	if (strlen(id) != ID_LEN)
		return IPCMAP_NOTFOUND;
	strcat(key, id);
	if (strcmp(verb, "who") == 0)
		return who(map, key, life_ns);
	if (strcmp(verb, "logout") == 0)
		return ipcmap_del(map, key, strlen(key));
	if (strcmp(verb, "rotate") == 0)
		rc = rotate(map, key, more, life_ns, token);
	else if (strcmp(verb, "spin") == 0)
		for (int n = atoi(more); n > 0 && rc == 0; n--)
			rc = rotate(map, key, NULL, life_ns, token);
	else
		rc = IPCMAP_INVALID;
	if (rc == 0)
		printf("%s\n", token);
	return rc;
}

int main(int argc, char **argv)
{
	struct ipcmap_options opt = IPCMAP_OPTIONS_INIT;
	double life_s = 1800;
	struct ipcmap *map;
	int c, rc;

	while ((c = getopt(argc, argv, "t:")) == 't')
		life_s = atof(optarg);
	argv += optind; /* NAME VERB ... */
	argc -= optind;
	if (c != -1 || argc < 2 || argc > 4 || !(life_s > 0 && life_s < 1e9)) {
		fprintf(stderr, "usage: sessions [-t SECONDS] NAME VERB [ARGUMENT ...]\n");
		return 2;
	}
	opt.flags = IPCMAP_CREATE;
	rc = ipcmap_open(argv[0], &opt, &map);
	if (rc == 0) {
		rc = run(map, argv[1], argc > 2 ? argv[2] : "", argc > 3 ? argv[3] : "",
			 (uint64_t)(life_s * 1e9));
		ipcmap_close(map);
	}
	if (rc != 0)
		fprintf(stderr, "sessions: %s\n", ipcmap_strerror(rc));
	return rc == 0 ? 0 : rc == IPCMAP_NOTFOUND || rc == IPCMAP_MISMATCH ? 1 : 3;
}
