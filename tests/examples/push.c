/* SPDX-License-Identifier: MIT */
/*
 * push.c - an event loop in which a map, a socket and a timer take turns
 *
 *	push NAME SOCKET
 *
 * A server that tells its clients of all keys that begin with "flag:": whoever connects gets
 * what there is, and then each change, made by whichever process. A client sets a flag by
 * sending "NAME VALUE", and deletes it with "NAME". Messages are packets of a Unix socket
 * (SOCK_SEQPACKET), so none is half. "NAME VALUE" to a client: it has this value; "NAME": it is
 * gone; an empty name, " ": forget all, it follows anew.
 *
 * ipcmap_watch_fd() is a descriptor as any other; what is special is only that it is readable
 * until ipcmap_watch_next() has said IPCMAP_BUSY. Nothing here waits but epoll_wait(). The timer
 * says in the map, once a second, that this server lives: "server:PID", with a life of 3 s.
 * By hand:
 *
 *	cc -o push push.c $(pkg-config --cflags --libs ipcmap)
 *	./push /flags flags.sock & ipcmap put /flags flag:debug on
 *	socat - UNIX-CONNECT:flags.sock,type=5
 *	kill %1; ipcmap rm /flags
 */
#define _GNU_SOURCE /* accept4() */

#include <ipcmap.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#define FLAG "flag:"
#define FLAG_LEN (sizeof(FLAG) - 1)
#define CLIENTS_MAX 64
#define MESSAGE_MAX 2000
#define SECOND UINT64_C(1000000000)

static struct ipcmap *map;
static struct ipcmap_watch *watch;
static int loop, listener, timer, signals;
static int clients[CLIENTS_MAX], n_clients;

static _Noreturn void die(const char *what, int rc)
{
	fprintf(stderr, "push: %s: %s\n", what, ipcmap_strerror(rc));
	exit(3);
}

/* In case of trouble with the system. */
static int must(const char *what, int result)
{
	if (result < 0)
		die(what, -errno);
	return result;
}

static void add_to_loop(int fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};

	must("epoll_ctl", epoll_ctl(loop, EPOLL_CTL_ADD, fd, &e));
}

/* ---- clients ---- */

static void drop_client(int fd)
{
	for (int i = 0; i < n_clients; i++)
		if (clients[i] == fd)
			clients[i--] = clients[--n_clients];
	close(fd); /* it leaves the loop with that */
}

/* One that does not read what it is sent is not waited for. */
static int tell(int fd, const char *message, size_t len)
{
	return send(fd, message, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len ? 0 : -1;
}

/* The message about a key as it is now: its length. */
static size_t message_of(const void *key, size_t key_len, char *message)
{
	size_t name_len = key_len - FLAG_LEN, len = 0;
	char *value;
	int rc;

	if (name_len == 0 || name_len > MESSAGE_MAX / 2)
		return 0; /* no flag of ours */
	memcpy(message, (const char *)key + FLAG_LEN, name_len);
	value = message + name_len;
	rc = ipcmap_get(map, key, key_len, value + 1, MESSAGE_MAX - name_len - 1, &len);
	if (rc == IPCMAP_NOTFOUND)
		return name_len;
	if (rc == IPCMAP_SHORT)
		return 0;
	if (rc != 0)
		die("get", rc);
	*value = ' ';
	return name_len + 1 + len;
}

static int tell_one(void *arg, const struct ipcmap_item *item)
{
	char message[MESSAGE_MAX];
	size_t len = message_of(item->key, item->key_len, message);

	return len && tell(*(int *)arg, message, len) < 0; /* 1 ends the scan */
}

static int tell_state(int fd)
{
	uint64_t cursor = 0;
	int rc = ipcmap_scan(map, &cursor, FLAG, FLAG_LEN, IPCMAP_SCAN_KEYS, tell_one, &fd);

	if (rc < 0)
		die("scan", rc);
	return rc ? -1 : 0;
}

static void tell_all(int (*what)(int fd, const void *arg, size_t len), const void *arg,
		     size_t len)
{
	for (int i = 0; i < n_clients;)
		if (what(clients[i], arg, len) < 0)
			drop_client(clients[i]); /* another one has its place now */
		else
			i++;
}

static int tell_message(int fd, const void *message, size_t len)
{
	return tell(fd, message, len);
}

static int tell_anew(int fd, const void *arg, size_t len)
{
	(void)arg;
	(void)len;
	return tell(fd, " ", 1) < 0 ? -1 : tell_state(fd);
}

static void on_client(int fd)
{
	char message[FLAG_LEN + MESSAGE_MAX];
	char *name = message + FLAG_LEN, *end;
	ssize_t n = recv(fd, name, MESSAGE_MAX, MSG_DONTWAIT);
	int rc = 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop_client(fd);
		return;
	}
	memcpy(message, FLAG, FLAG_LEN);
	end = memchr(name, ' ', (size_t)n);
	if (!end)
		rc = ipcmap_del(map, message, FLAG_LEN + (size_t)n);
	else if (end > name)
		rc = ipcmap_put(map, message, (size_t)(end - message), end + 1,
				(size_t)(name + n - end - 1), NULL);
	if (rc != 0 && rc != IPCMAP_NOTFOUND)
		fprintf(stderr, "push: a client's flag: %s\n", ipcmap_strerror(rc));
	/* our own change comes back as an event, like everybody's */
}

static void on_listener(void)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return; /* it has gone again */
	if (n_clients == CLIENTS_MAX || tell_state(fd) < 0) {
		close(fd);
		return;
	}
	clients[n_clients++] = fd;
	add_to_loop(fd);
}

/* ---- the map and the clock ---- */

/*
 * All events that there are. A client that connected meanwhile may be told twice what it has,
 * but never something older last: the value is read when it is told.
 */
static void on_watch(void)
{
	char message[MESSAGE_MAX];
	struct ipcmap_event e;
	size_t len;
	int rc;

	while ((rc = ipcmap_watch_next(watch, IPCMAP_NOWAIT, &e)) == 0) {
		if (!e.key) { /* IPCMAP_EVENT_CLEAR, or GAP: too much happened at once */
			tell_all(tell_anew, NULL, 0);
			continue;
		}
		len = message_of(e.key, e.key_len, message);
		if (len)
			tell_all(tell_message, message, len);
	}
	if (rc != IPCMAP_BUSY)
		die("watch", rc);
}

static void on_timer(void)
{
	struct ipcmap_put_options how = IPCMAP_PUT_INIT;
	uint64_t times;
	char key[40];
	int rc;

	if (read(timer, &times, sizeof(times)) < 0)
		return;
	how.ttl_ns = 3 * SECOND;
	snprintf(key, sizeof(key), "server:%ld", (long)getpid());
	rc = ipcmap_put(map, key, strlen(key), "", 0, &how);
	if (rc != 0)
		fprintf(stderr, "push: %s: %s\n", key, ipcmap_strerror(rc));
}

/* ---- all of it ---- */

static void open_all(const char *path)
{
	const struct itimerspec tick = {{1, 0}, {0, 1}};
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	sigset_t end;
	int rc;

	if (strlen(path) >= sizeof(at.sun_path))
		die(path, -ENAMETOOLONG);
	strcpy(at.sun_path, path);
	loop = must("epoll_create1", epoll_create1(EPOLL_CLOEXEC));
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigaddset(&end, SIGINT);
	sigprocmask(SIG_BLOCK, &end, NULL);
	signals = must("signalfd", signalfd(-1, &end, SFD_CLOEXEC));
	timer = must("timerfd_create", timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
	must("timerfd_settime", timerfd_settime(timer, 0, &tick, NULL));
	rc = ipcmap_watch_open(map, FLAG, FLAG_LEN, IPCMAP_WATCH_PREFIX, &watch);
	if (rc == 0)
		rc = ipcmap_watch_fd(watch);
	if (rc < 0)
		die("watch", rc);
	listener = must("socket", socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
	must(path, bind(listener, (struct sockaddr *)&at, sizeof(at)));
	must(path, listen(listener, 16));
	add_to_loop(signals);
	add_to_loop(timer);
	add_to_loop(rc);
	add_to_loop(listener);
}

static int run(void)
{
	int at_map = ipcmap_watch_fd(watch); /* the same again */
	struct epoll_event e;

	for (;;) {
		if (epoll_wait(loop, &e, 1, -1) < 0) {
			if (errno != EINTR)
				return -errno;
		} else if (e.data.fd == signals) {
			return 0;
		} else if (e.data.fd == timer) {
			on_timer();
		} else if (e.data.fd == at_map) {
			on_watch();
		} else if (e.data.fd == listener) {
			on_listener();
		} else {
			on_client(e.data.fd);
		}
	}
}

int main(int argc, char **argv)
{
	struct ipcmap_options opt = IPCMAP_OPTIONS_INIT;
	char why[200] = "";
	int rc;

	if (argc != 3) {
		fprintf(stderr, "usage: push NAME SOCKET\n");
		return 2;
	}
	opt.flags = IPCMAP_CREATE;
	opt.why = why;
	opt.why_cap = sizeof(why);
	rc = ipcmap_open(argv[1], &opt, &map);
	if (rc != 0)
		die(*why ? why : argv[1], rc);
	open_all(argv[2]);
	rc = run();
	unlink(argv[2]);
	ipcmap_watch_close(watch);
	ipcmap_close(map);
	if (rc != 0)
		die("epoll_wait", rc);
	return 0;
}
