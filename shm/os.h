/* SPDX-License-Identifier: MIT */
/*
 * os.h - what is asked of the kernel; os.c is the one file with raw system calls
 *
 * Calls go through struct im_os so that a test can script time, sleep and failure.
 * All return 0 or a negative errno.
 */
#ifndef IM_OS_H
#define IM_OS_H

#include "base.h"

/*
 * Locks lie on single bytes far behind any file's end, so that they cover no data: byte 0 of
 * them is the right to create, byte n says that owner slot n is taken.
 */
#define IM_OWNER_BYTE (INT64_C(1) << 62)
#define IM_CREATE_BYTE 0u
#define IM_OWNER_BYTES 1024 /* in all: a slot has 10 bits */

struct im_os {
	/* sleep while *word == val, at most timeout_ns; 0, -EAGAIN, -EINTR, -ETIMEDOUT */
	int (*futex_wait)(uint32_t *word, uint32_t val, uint64_t timeout_ns);
	int (*futex_wake)(uint32_t *word, int n);
	uint64_t (*now)(void);    /* monotonic ns, for deadlines */
	uint64_t (*coarse)(void); /* monotonic ns of the host's boot, one tick coarse: expiry */
	/* back [off, off+len) of the file with memory; -ENOSPC, -EFBIG (RLIMIT_FSIZE) */
	int (*reserve)(int fd, uint64_t off, uint64_t len);
	/* give the memory behind [p, p+len) of a shared file mapping back to the system */
	int (*give_back)(void *p, uint64_t len);
	/* bytes of a page: what mappings, and memory given back, are cut into */
	uint64_t (*page_len)(void);
	/* is the owner byte @slot locked by anybody? 1, 0, or a negative errno */
	int (*owner_locked)(int fd, uint32_t slot);
};

extern const struct im_os im_os_real;
extern const struct im_os *im_os; /* the one in use */

void im_os_timens_refresh(void); /* at attach and in forked children */
int im_os_random(void *buf, size_t len);
void im_os_boot_id(uint8_t id[16]); /* zero when unknown */
uint64_t im_os_wall(void);          /* seconds since 1970 */
#define IM_OS_LARGE_PAGE (UINT64_C(1) << 21)

/*
 * Put large pages behind [p, p+len) of a shared file mapping that has memory already: as many
 * as lie in there whole, since they make memory of holes. Asks only: some of it, or all, may
 * stay as it is.
 */
void im_os_large_pages(void *p, uint64_t len);

uint64_t im_os_fsize_limit(void);   /* RLIMIT_FSIZE: a file made longer is a fatal signal */

/*
 * The negative errno of an mmap() or madvise() that failed. -EAGAIN, of memory that would have
 * to be locked and may not, becomes -ENOMEM: above, -EAGAIN is of a segment being created.
 */
int im_os_map_errno(void);

/* Lock byte @slot through this open file description: 0, -EAGAIN held elsewhere, or worse. */
int im_os_byte_lock(int fd, uint32_t slot);
void im_os_byte_unlock(int fd, uint32_t slot);

/* All of them, the right to create and every slot there can be, or none: likewise. */
int im_os_bytes_lock(int fd);

/* This process, for display: start in clock ticks since boot, comm zero-padded. */
void im_os_self(uint64_t *ret_pid, uint64_t *ret_start, char ret_comm[16]);

#endif
