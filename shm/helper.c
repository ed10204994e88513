/* SPDX-License-Identifier: MIT */
/*
 * helper.c - a thread of this process that makes a descriptor readable
 *
 * No descriptor can be waited for together with a futex that lies in shared memory (io_uring
 * apart, which many systems forbid), so a thread sleeps on the one and tells the other. It
 * takes no signals: handlers of the program run in the program's threads.
 */
#include "helper.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

int im_helper_start(struct im_helper *h, void *(*run)(void *arg), void *arg)
{
	sigset_t all, was;
	int r;

	h->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->fd < 0)
		return -errno;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	r = pthread_create(&h->thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	if (r) {
		close(h->fd);
		/* above, -EAGAIN is of a segment being created */
		return r == EAGAIN ? -ENOMEM : -r;
	}
	return 0;
}

void im_helper_say(const struct im_helper *h)
{
	ssize_t n = write(h->fd, &(uint64_t){1}, 8);

	(void)n; /* full is readable */
}

void im_helper_hush(const struct im_helper *h)
{
	uint64_t v;
	ssize_t n = read(h->fd, &v, 8);

	(void)n;
}

void im_helper_end(struct im_helper *h)
{
	pthread_join(h->thread, NULL);
	close(h->fd);
}

void im_helper_forget(struct im_helper *h)
{
	close(h->fd);
}
