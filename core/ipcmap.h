/* SPDX-License-Identifier: MIT */
/*
 * ipcmap.h - a key->value map in shared memory
 *
 * The one installed header. ipcmap(7) explains the ideas and numbers the promises
 * cited here as [G1] .. [G12]; ipcmap(3) has what all calls have in common, and a page
 * for each group of them shows them in use.
 *
 * Every call returns 0 or a count when it succeeds, and a negative IPCMAP_ error
 * otherwise; each error has the value of the negative errno named beside it, and other
 * negative values are system errors passed on. Results go out through the last arguments
 * and are untouched on failure unless said otherwise.
 *
 * Lengths are in bytes, durations in nanoseconds. The caller owns all arguments, and none
 * is kept after the call. "Crash:" says what a caller killed inside the call leaves. Where
 * a field says "as for ipcmap_get()" it is the same sentence.
 */
#ifndef IPCMAP_H
#define IPCMAP_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define IPCMAP_API __attribute__((visibility("default")))
#else
#define IPCMAP_API
#endif

#define IPCMAP_VERSION_MAJOR 0
#define IPCMAP_VERSION_MINOR 1
#define IPCMAP_VERSION_PATCH 0

#define IPCMAP_KEY_MAX 65535u      /* bytes in a key; the shortest has 1 */
#define IPCMAP_VAL_MAX 4294967295u /* bytes in a value; the shortest has 0 */

/* Errors: name = cause (state left behind; what to do next). */
#define IPCMAP_NOTFOUND (-ENOENT)      /* no such key, or no such segment */
#define IPCMAP_EXISTS (-EEXIST)        /* there already (unchanged) */
#define IPCMAP_MISMATCH (-ESTALE)      /* a condition was not met (unchanged; read again) */
#define IPCMAP_SHORT (-ENOBUFS)        /* buf too small (map unchanged; len says the need) */
#define IPCMAP_LIMIT (-EDQUOT)         /* the map's limit (unchanged; raise it or delete) */
#define IPCMAP_FULL (-ENOSPC)          /* file system full or RLIMIT_FSIZE (unchanged) */
#define IPCMAP_TOOBIG (-EMSGSIZE)      /* key or value longer than this map can hold */
#define IPCMAP_INVALID (-EINVAL)       /* an argument is out of its range */
#define IPCMAP_READONLY (-EROFS)       /* a write through a read-only attach */
#define IPCMAP_NOTMAP (-EBADF)         /* the file is not an ipcmap segment */
#define IPCMAP_VERSION (-EPROTONOSUPPORT) /* a segment format this library does not know */
#define IPCMAP_CREATING (-EAGAIN)      /* its creator is still at work (try again) */
#define IPCMAP_PERM (-EACCES)          /* the system or the owner check refuses */
#define IPCMAP_NOMEM (-ENOMEM)         /* this process is out of memory or of segments */
#define IPCMAP_OWNERS (-EUSERS)        /* every owner slot is in use */
#define IPCMAP_TYPE (-EPROTOTYPE)      /* the entry is of another type */
#define IPCMAP_RANGE (-ERANGE)         /* the result would leave its range */
#define IPCMAP_BUSY (-EBUSY)           /* deadline passed; for get: reused 16 times (retry) */
#define IPCMAP_DEADLOCK (-EDEADLK)     /* a write inside this thread's own write */
#define IPCMAP_INTERRUPTED (-EINTR)    /* ipcmap_interrupt() was called (unchanged) */
#define IPCMAP_GAP (-EOVERFLOW)        /* reserved; a watch shows a gap as an event */
#define IPCMAP_MOVED (-EREMCHG)        /* reserved for migration */
#define IPCMAP_CORRUPT (-EUCLEAN)      /* the segment holds bytes that cannot be (check it) */

/* Durations, all in nanoseconds. */
#define IPCMAP_TTL_NONE UINT64_MAX       /* never expires */
#define IPCMAP_TTL_KEEP (UINT64_MAX - 1) /* what the entry has left; a new one: the default */
#define IPCMAP_NOWAIT (UINT64_MAX - 1)   /* deadline: do not wait */
#define IPCMAP_FOREVER UINT64_MAX        /* deadline: none */

struct ipcmap; /* an attached map; see ipcmap_open() */

#define IPCMAP_COMPRESS_OFF UINT32_MAX   /* compress: no value */

/* struct ipcmap_options flags */
#define IPCMAP_CREATE 1u    /* make the segment if it is not there */
#define IPCMAP_EXCL 2u      /* with CREATE: EXISTS if it is there */
#define IPCMAP_RDONLY 4u    /* attach for reading; stores nothing */
#define IPCMAP_APPLY 8u     /* set limit, ttl and compress of an existing map to those given */
#define IPCMAP_FOREIGN 16u  /* accept a segment of a user other than ours and root */
#define IPCMAP_RESERVE 32u  /* with CREATE: reserve the memory of the whole limit now */
#define IPCMAP_HUGE 64u     /* with CREATE: as RESERVE, in large pages where there are any */

/* How to open or create. Start from IPCMAP_OPTIONS_INIT; 0 means the default. */
struct ipcmap_options {
	size_t struct_size;   /* sizeof(struct ipcmap_options) */
	unsigned flags;       /* IPCMAP_CREATE ... */
	unsigned mode;        /* create: permission bits, default 0600 */
	uint32_t group;       /* create: group id, UINT32_MAX (the default) leaves it */
	uint64_t limit;       /* bytes, everything in; default 64 MiB, least 1 MiB */
	uint64_t max;         /* bytes the limit can be raised to; default 8 x limit */
	unsigned shards;      /* default: by limit; rounded up to a power of two, at most 1024 */
	uint64_t ttl_ns;      /* default life of entries; 0 and IPCMAP_TTL_NONE: for ever */
	uint64_t deadline_ns; /* default wait of this handle's writes; 0: 2 s */
	unsigned evict;       /* reserved, must be 0 */
	unsigned compress;    /* compress values of so many bytes; 0: default OFF, else leave */
	char *why;            /* room for one line on failure: what and where; may be NULL */
	size_t why_cap;       /* bytes of room in why */
};
#define IPCMAP_OPTIONS_INIT                                                                    \
	{                                                                                      \
		sizeof(struct ipcmap_options), 0, 0, UINT32_MAX, 0, 0, 0, 0, 0, 0, 0, NULL, 0  \
	}

/* struct ipcmap_put_options flags: conditions; all that are given must hold */
#define IPCMAP_IF_ABSENT 1u  /* else EXISTS */
#define IPCMAP_IF_PRESENT 2u /* else NOTFOUND */
#define IPCMAP_IF_VERSION 4u /* the entry has .version; else MISMATCH (NOTFOUND when absent) */
#define IPCMAP_IF_EQUAL 8u   /* the value equals .equal; else MISMATCH (NOTFOUND when absent) */

/* How to store or delete. Start from IPCMAP_PUT_INIT; ipcmap_delx() ignores ttl and type. */
struct ipcmap_put_options {
	size_t struct_size;   /* sizeof(struct ipcmap_put_options) */
	unsigned flags;       /* IPCMAP_IF_... */
	uint32_t type;        /* 0 .. 255, the caller's own meaning, returned by getx */
	uint64_t version;     /* for IF_VERSION: from ipcmap_getx() */
	const void *equal;    /* for IF_EQUAL */
	size_t equal_len;     /* bytes at equal */
	uint64_t ttl_ns;      /* 0: the map's default; TTL_NONE; TTL_KEEP */
	unsigned jitter;      /* percent, 0 .. 100: shortens the ttl by a random share up to it */
	uint64_t deadline_ns; /* 0: the handle's default; NOWAIT; FOREVER */
};
#define IPCMAP_PUT_INIT                                                                        \
	{                                                                                      \
		sizeof(struct ipcmap_put_options), 0, 0, 0, NULL, 0, 0, 0, 0                   \
	}

/* A value read. In: buf, cap. Out: the rest. */
struct ipcmap_value {
	void *buf;            /* room for the value; may be NULL when cap is 0 */
	size_t cap;           /* bytes of room */
	size_t len;           /* bytes in the value; also set on SHORT */
	uint64_t version;     /* of this write; changes with every write of the key */
	uint64_t ttl_left_ns; /* IPCMAP_TTL_NONE when it never expires */
	uint32_t type;        /* as stored */
};

/**
 * ipcmap_open() - attach a map, or create it
 * @name: "/name" or "name" for the shared-memory object /dev/shm/name; any other path
 *        with a slash inside is taken as it is; at most 4,000 bytes
 * @opt:  NULL attaches for reading and writing
 * @ret_map: the map
 *
 * With IPCMAP_CREATE an existing map wins: its limit, ttl and compress stay unless APPLY is
 * given; another shard count is MISMATCH. Several opens of one segment in a process share one
 * attachment, and a process has at most 32 segments attached. Attach takes the same time
 * whatever the map's size.
 *
 * Return:  0; NOTFOUND, EXISTS, MISMATCH, FULL, INVALID, NOTMAP, VERSION, CREATING, PERM,
 *          NOMEM, OWNERS, CORRUPT; READONLY, BUSY and INTERRUPTED with APPLY; BUSY when a
 *          stopped process keeps the last free slot; DEADLOCK in a signal handler; @opt->why
 *          then has one line of reason.
 * Memory:  the map is freed by ipcmap_close(); @name and @opt are not kept.
 * Threads: any thread; they take turns. A creator is waited for up to about 2 s.
 * Signals: not async-signal-safe.
 * Fork:    a map opened before fork() is usable in the child at once [G10].
 * Crash:   a creator killed inside leaves a segment that the next creator completes.
 * Cost:    some system calls, with RESERVE one for each MiB.
 */
IPCMAP_API int ipcmap_open(const char *name, const struct ipcmap_options *opt,
			   struct ipcmap **ret_map);

/**
 * ipcmap_open_prefix() - a handle that sees and writes only the keys under a prefix
 * @map:     may have a prefix itself; the new one is put behind it
 * @prefix:  @prefix_len bytes, at least 1; together with the longest key used under it at most
 *           IPCMAP_KEY_MAX
 * @ret_map: to be closed by ipcmap_close(), before @map is
 *
 * All calls that take or show keys work on keys without the prefix: for tenants, and modules,
 * that share a map. ipcmap_clear() deletes what is under it, as ipcmap_del_prefix() does, and
 * ipcmap_entries() counts that by a scan. Calls about the whole map, snapshot tables among
 * them, stay about the whole map, and the default deadline is that of @map. It is no border
 * for security: whoever has the segment attached can reach every key of it. Loaders and
 * watches get keys without the prefix; a lease is that of the whole key, whoever asks for it.
 *
 * Return:  0; NOMEM; INVALID.
 * Memory:  freed by ipcmap_close(); @prefix is copied. Calls under it take some 600 bytes of
 *          stack more, 65 KiB more for keys longer than about 500 bytes.
 * Threads: any thread. Signals: not async-signal-safe.
 * Fork:    usable in the child at once. Crash: no trace.
 * Cost:    O(shards); a call under it costs the copy of its key more.
 */
IPCMAP_API int ipcmap_open_prefix(struct ipcmap *map, const void *prefix, size_t prefix_len,
				  struct ipcmap **ret_map);

/**
 * ipcmap_close() - detach
 * @map: may be NULL; must not be in use by another thread; its snapshots and watches, and handles
 *       that ipcmap_open_prefix() made of it, are closed before
 *
 * The segment and its content stay.
 *
 * Memory:  what the map took is freed.
 * Threads: waits for threads of this process that open or close.
 * Signals, Fork: as for ipcmap_open().
 * Crash:   the attachment ends with the process in any case.
 * Cost:    some system calls, when it is the last handle of the attachment.
 */
IPCMAP_API void ipcmap_close(struct ipcmap *map);

/**
 * ipcmap_unlink() - remove a segment's name
 * @name: as for ipcmap_open()
 *
 * Attached processes keep the map until they close it; the memory is freed after the last.
 * A file that is not an ipcmap segment is left alone.
 *
 * Return:  0; NOTFOUND, NOTMAP, CREATING, PERM, INVALID; system errors of unlink(2).
 * Memory:  nothing is allocated.
 * Threads: any thread, any process; waits for nobody.
 * Signals: not async-signal-safe. Fork: usable in the child at once.
 * Crash:   the name is gone or not.
 * Cost:    some system calls.
 */
IPCMAP_API int ipcmap_unlink(const char *name);

/**
 * ipcmap_get() - copy out the value stored under a key
 * @map:     attached map
 * @key:     @key_len bytes of any content, 1 .. IPCMAP_KEY_MAX
 * @buf:     room for @cap bytes; may be NULL when @cap is 0; must not overlap @key
 * @ret_len: length of the value in bytes; set on 0 and on IPCMAP_SHORT; may be NULL
 *
 * Copies one value that was current at some moment during the call [G2].
 *
 * Return:  0; NOTFOUND; SHORT if @cap is less than the length; BUSY if the memory of the
 *          value was reused 16 times during this one call; NOMEM if a compressed value could
 *          not be unpacked; INVALID; CORRUPT. After any error the content of @buf is
 *          undefined.
 * Memory:  the caller owns @key and @buf; nothing is allocated but a scratch area of the
 *          thread, at its first compressed value.
 * Threads: any thread, any process; takes no lock, waits for nobody [G1].
 * Signals: async-signal-safe, also inside this thread's own write.
 * Fork:    usable in the child at once.
 * Crash:   a caller killed inside leaves no trace.
 * Cost:    O(1) expected plus the copy; no system call after the thread's first call, but
 *          for that area.
 */
IPCMAP_API int ipcmap_get(struct ipcmap *map, const void *key, size_t key_len, void *buf,
			  size_t cap, size_t *ret_len);

/**
 * ipcmap_getx() - as ipcmap_get(), with version, remaining life and type
 * @ret: in: buf and cap; out: the rest, on 0 and on IPCMAP_SHORT
 *
 * Return: as for ipcmap_get(). All else as for ipcmap_get().
 */
IPCMAP_API int ipcmap_getx(struct ipcmap *map, const void *key, size_t key_len,
			   struct ipcmap_value *ret);

/**
 * ipcmap_get_alloc() - as ipcmap_get(), into memory from malloc()
 * @ret_buf: the value and one zero byte after it
 * @ret_len: length of the value without that byte; may be NULL
 *
 * Return:  as for ipcmap_get() without SHORT; NOMEM; BUSY also when the value became longer
 *          16 times meanwhile.
 * Memory:  the caller frees @ret_buf with free().
 * Signals: not async-signal-safe. All else as for ipcmap_get().
 */
IPCMAP_API int ipcmap_get_alloc(struct ipcmap *map, const void *key, size_t key_len,
				void **ret_buf, size_t *ret_len);

/**
 * ipcmap_exists() - is the key there?
 * Return: 1 or 0; BUSY, INVALID, CORRUPT as for ipcmap_get(). All else as for ipcmap_get().
 */
IPCMAP_API int ipcmap_exists(struct ipcmap *map, const void *key, size_t key_len);

/**
 * ipcmap_put() - store a value
 * @val: @val_len bytes, 0 .. IPCMAP_VAL_MAX; may be NULL when @val_len is 0
 * @how: NULL stores always, with the map's default life
 *
 * Readers see the old value or the new one, whole. When it fails the old value stays.
 *
 * Return:  0; EXISTS, NOTFOUND, MISMATCH (conditions); LIMIT, FULL; TOOBIG; BUSY at the
 *          deadline; DEADLOCK; INTERRUPTED; READONLY; PERM (a forked child that could not
 *          reopen the segment); OWNERS; INVALID; CORRUPT; NOMEM if a compressed value could
 *          not be unpacked for IF_EQUAL; RANGE when its shard has made 2^48 writes.
 * Memory:  the caller owns all arguments; nothing is allocated but scratch memory for values
 *          that are compressed.
 * Threads: any thread, any process; writers of one shard take turns.
 * Signals: not async-signal-safe: inside this thread's own write it returns DEADLOCK.
 * Fork:    as for ipcmap_get().
 * Crash:   the write is there whole or not at all; the next writer of the shard completes
 *          the bookkeeping in O(1) [G4].
 * Cost:    O(1) amortised: one append, one index line, a bounded share of cleaning; no
 *          system call unless memory is needed or a lock is contended. A value that is
 *          compressed, or larger than half an extent, costs its own size, outside the lock.
 */
IPCMAP_API int ipcmap_put(struct ipcmap *map, const void *key, size_t key_len, const void *val,
			  size_t val_len, const struct ipcmap_put_options *how);

/**
 * ipcmap_putx() - store a value and return what was there before, atomically
 * @ret_old: as for ipcmap_getx(): on 0 the previous value, or len 0 and version 0 when there
 *           was none; on EXISTS and MISMATCH the existing one; on SHORT its length, and
 *           nothing was changed. When it does not fit on EXISTS or MISMATCH, the error stays
 *           and len says its size. Means nothing after other errors. May be NULL.
 *
 * This is LoadOrStore (with IF_ABSENT), Swap, and CompareAndSwap (with IF_VERSION or
 * IF_EQUAL).
 *
 * Return: as for ipcmap_put(); SHORT. All else as for ipcmap_put().
 */
IPCMAP_API int ipcmap_putx(struct ipcmap *map, const void *key, size_t key_len, const void *val,
			   size_t val_len, const struct ipcmap_put_options *how,
			   struct ipcmap_value *ret_old);

/**
 * ipcmap_del() - delete a key
 * Return: 0; NOTFOUND; else as for ipcmap_put() without LIMIT, FULL and TOOBIG: a delete
 *         needs no memory. All else as for ipcmap_put().
 */
IPCMAP_API int ipcmap_del(struct ipcmap *map, const void *key, size_t key_len);

/**
 * ipcmap_delx() - delete a key if conditions hold
 * @only_if: IF_VERSION, IF_EQUAL; deadline_ns; NULL deletes always
 * Return: as for ipcmap_del(); MISMATCH. All else as for ipcmap_put().
 */
IPCMAP_API int ipcmap_delx(struct ipcmap *map, const void *key, size_t key_len,
			   const struct ipcmap_put_options *only_if);

/**
 * ipcmap_take() - delete a key and return its value, atomically
 * @ret_old: as for ipcmap_getx(); on SHORT nothing was changed
 * Return: as for ipcmap_del(); SHORT. All else as for ipcmap_put().
 */
IPCMAP_API int ipcmap_take(struct ipcmap *map, const void *key, size_t key_len,
			   struct ipcmap_value *ret_old);

/**
 * ipcmap_touch() - give a key another life
 * @how: ttl_ns, jitter, deadline_ns, and the conditions IF_VERSION, IF_EQUAL; the key must be
 *       there
 *
 * Value and version stay. Return: 0; NOTFOUND; MISMATCH; else as for ipcmap_put(), since the
 * entry is written anew; a value larger than half an extent is not. All else as for
 * ipcmap_put().
 */
IPCMAP_API int ipcmap_touch(struct ipcmap *map, const void *key, size_t key_len,
			    const struct ipcmap_put_options *how);

/**
 * ipcmap_get_touch() - read a value and keep it alive
 * @ttl_ns: the life it gets when less than half of that is left; else nothing is written
 * @ret:    as for ipcmap_getx(); ttl_left_ns is what was left before; set also when only the
 *          touch failed
 *
 * For sessions: a read that seldom writes. A key that never expires is left alone, as is one
 * that was replaced meanwhile.
 *
 * Return: as for ipcmap_getx(), and as for ipcmap_touch() when that fails.
 * Cost:   as for ipcmap_getx(); about twice in @ttl_ns also as for ipcmap_put(). All else as
 *         for ipcmap_put().
 */
IPCMAP_API int ipcmap_get_touch(struct ipcmap *map, const void *key, size_t key_len,
				uint64_t ttl_ns, struct ipcmap_value *ret);

/* How to add. Start from IPCMAP_ADD_INIT. */
struct ipcmap_add_options {
	size_t struct_size;   /* sizeof(struct ipcmap_add_options) */
	int64_t initial;      /* what a counter that is not there begins with, before delta */
	int64_t min, max;     /* RANGE, and nothing changed, when the sum would leave them */
	uint64_t ttl_ns;      /* of a new counter; 0: the map's default; a present one keeps its */
	uint64_t deadline_ns; /* as in struct ipcmap_put_options */
	uint32_t type;        /* of a new counter */
};
#define IPCMAP_ADD_INIT                                                                        \
	{                                                                                      \
		sizeof(struct ipcmap_add_options), 0, INT64_MIN, INT64_MAX, 0, 0, 0            \
	}

/**
 * ipcmap_add() - add to a counter, atomically
 * @how:     NULL: begins with 0, no bounds, the map's default life
 * @ret_now: the sum; may be NULL
 *
 * A counter is a value that is a decimal integer of 64 bits as text, of at most 20 bytes.
 *
 * Return: 0; TYPE when the value is something else; RANGE; TOOBIG for a key longer than about
 *         half an extent; else as for ipcmap_put(). All else as for ipcmap_put().
 */
IPCMAP_API int ipcmap_add(struct ipcmap *map, const void *key, size_t key_len, int64_t delta,
			  const struct ipcmap_add_options *how, int64_t *ret_now);

/* One key of ipcmap_mget(). In: key, key_len, value.buf, value.cap. Out: the rest. */
struct ipcmap_mget {
	const void *key;
	size_t key_len;
	struct ipcmap_value value;
	int rc; /* what ipcmap_getx() would return for this key */
};

/**
 * ipcmap_mget() - read many keys, their cache misses overlapped
 * @items: @n of them; each is read as by ipcmap_getx(), one after the other: together they
 *         are not a view of one moment
 *
 * Return: the number of items with rc 0; INVALID, then no rc was set. All else as for
 *         ipcmap_get().
 */
IPCMAP_API int ipcmap_mget(struct ipcmap *map, struct ipcmap_mget *items, size_t n);

/* A value that is read where it lies. */
struct ipcmap_pin {
	const void *val; /* @len bytes that do not change; aligned to nothing */
	size_t len;
	uint64_t version;
	uint64_t ttl_left_ns; /* when it was pinned; IPCMAP_TTL_NONE when it never expires */
	uint32_t type;
	uint32_t copied; /* 1: val is a copy, in memory of this process */
	uint64_t own[4]; /* the library's */
};

/**
 * ipcmap_pin() - read a value in place, of any length, without copying it
 * @key, @key_len: 1 .. 65535 bytes
 * @ret_pin: val and len out; ipcmap_unpin() ends it
 *
 * From a return of 0 to ipcmap_unpin() the bytes stay as they are, whatever becomes of the key:
 * replaced, deleted, expired or moved, its memory is not used again before. So they are the
 * key's value as of this call, and reading them costs nothing. A value of several extents is
 * mapped so that it lies in one piece. Nobody waits for a pin, whether its holder is busy,
 * stopped or dead; but its memory counts as used. So it is to be held for a request and not for
 * a day, and what is held together is bounded: at most an eighth of the limit in extents, which
 * are whole however short the value is, and 16 pins for each snapshot table the map has room for
 * (1,024, or 256 in a map of less than 16 MiB). The pins of a process that dies are void.
 *
 * A compressed value, and any value of a read-only attach, is copied to memory of the process
 * in place of pinned (copied is 1); so is one of several extents where no mapping is to be had.
 *
 * Return:  0; NOTFOUND; BUSY when too much would be held, no pin is free, or the map changed in
 *          each of 16 tries: then ipcmap_get() still answers; NOMEM; CORRUPT; OWNERS, PERM,
 *          DEADLOCK as for ipcmap_put(); INVALID. But for 0 and INVALID *@ret_pin is all zero: there is nothing to unpin.
 * Memory:  copies from malloc(), mappings, freed by ipcmap_unpin(). The bytes must not be
 *          written to. They go with the last ipcmap_close() of the segment: unpin before.
 * Threads: any thread; the pin may be used and ended by any other.
 * Signals: not async-signal-safe.
 * Fork:    the pin stays the parent's: a child may read the bytes as long as that holds them,
 *          and its own ipcmap_unpin() only frees what the child has.
 * Crash:   nothing to repair: the pin is void.
 * Cost:    two cache misses, a compare-and-swap and a full barrier; more than an eighth of the
 *          extents under pins ever, or a value of several extents: a walk of the pins. Several
 *          extents that are no neighbours: a system call for each run of them.
 */
IPCMAP_API int ipcmap_pin(struct ipcmap *map, const void *key, size_t key_len,
			  struct ipcmap_pin *ret_pin);

/**
 * ipcmap_unpin() - the value is not read any more
 * @pin: from ipcmap_pin() with this map (or another handle of its segment in this process), or
 *       all zero; all zero afterwards. NULL: nothing
 *
 * If memory waits for pins to end and its shard's lock is free, it is freed here.
 *
 * Memory:  what ipcmap_pin() took for it is freed.
 * Threads: any thread. Signals: not async-signal-safe. Fork: as for ipcmap_pin().
 * Crash:   the pin is there, and void, or not.
 * Cost:    a store and a compare-and-swap; munmap(2) or free() when there is anything.
 */
IPCMAP_API void ipcmap_unpin(struct ipcmap *map, struct ipcmap_pin *pin);

#define IPCMAP_COMMIT_MAX 512u /* changes in a group, and keys of a consistent mget */

#define IPCMAP_CHANGE_DEL 16u /* the key goes; val is NULL */

/* One change of a group. */
struct ipcmap_change {
	const void *key;
	size_t key_len;
	const void *val; /* @val_len bytes; NULL when that is 0 */
	size_t val_len;
	unsigned flags;   /* IPCMAP_IF_ABSENT, IF_PRESENT, IF_VERSION; IPCMAP_CHANGE_DEL */
	uint32_t type;    /* as in struct ipcmap_put_options */
	uint64_t version; /* in: for IF_VERSION; out, on 0: of this write */
	uint64_t ttl_ns;  /* 0: the map's default; TTL_NONE; TTL_KEEP */
	int rc;           /* out: 0, or the condition that was not met */
};

/**
 * ipcmap_commit() - puts and deletes of several keys, all or none of them
 * @changes:     @n of them, 1 to IPCMAP_COMMIT_MAX, of distinct keys
 * @deadline_ns: 0: the handle's default; NOWAIT; FOREVER
 *
 * The conditions are looked at together: if all are met the group is stored, else nothing is
 * changed. With IF_VERSION this is compare-and-swap over several keys. A key that is deleted
 * need not be there, unless IF_PRESENT or IF_VERSION says so.
 *
 * ipcmap_mget_consistent() sees all of a group or nothing. Other reads of several keys may see
 * some changes before others.
 *
 * All keys and values together must fit into half an extent (ipcmap_stat() has its length:
 * 32 KiB in a map of 64 MiB), and values are stored as they are, not compressed.
 *
 * Return:  0; EXISTS, NOTFOUND, MISMATCH: the first condition that was not met, and rc of each
 *          change has its own; TOOBIG, also when it replaces more than one value larger than
 *          half an extent in one shard; INVALID, a key twice among it; LIMIT when the index of
 *          a shard is full; VERSION: the segment was made by a library that had no groups;
 *          else as for ipcmap_put(). After an error nothing was changed.
 * Memory:  the caller owns all arguments; some 400 bytes a change from malloc() meanwhile, and
 *          an extent of the map.
 * Threads: any thread, any process; the writers of all its shards are held for the time of its
 *          puts.
 * Signals: not async-signal-safe. Fork: as for ipcmap_put().
 * Crash:   all of it is there or none; the next writer of each shard completes it [G4].
 * Cost:    that of its puts and deletes, and as much again for the record.
 */
IPCMAP_API int ipcmap_commit(struct ipcmap *map, struct ipcmap_change *changes, size_t n,
			     uint64_t deadline_ns);

/**
 * ipcmap_mget_consistent() - read several keys as they were at one moment
 * @items:       as for ipcmap_mget(), 1 to IPCMAP_COMMIT_MAX
 * @deadline_ns: as for ipcmap_commit()
 *
 * Reads until nothing changed meanwhile and no group was half stored. After 16 attempts a
 * writable attach locks the keys' shards and reads once more.
 *
 * Return: the number of items with rc 0; BUSY at the deadline, for a read-only attach after
 *         the attempts; NOMEM; DEADLOCK, INTERRUPTED, PERM, OWNERS, CORRUPT when it locks, as
 *         for ipcmap_put(); INVALID, then no rc was set.
 * Memory: the caller owns all arguments; some 300 bytes a key from malloc() when it locks.
 * Threads: any thread, any process. Signals: not async-signal-safe.
 * Fork:   as for ipcmap_get(). Crash: no trace, but a lock that is taken over.
 * Cost:   twice that of ipcmap_mget() when nobody writes there.
 */
IPCMAP_API int ipcmap_mget_consistent(struct ipcmap *map, struct ipcmap_mget *items, size_t n,
				      uint64_t deadline_ns);

/**
 * ipcmap_del_prefix() - delete the keys that begin with some bytes
 * @prefix:      @prefix_len bytes, at least 1
 * @ret_deleted: how many, also when it ends early; may be NULL
 *
 * Not atomic: a key that is there throughout is deleted, one stored meanwhile may stay.
 *
 * Return: 0, also when there were none; as for ipcmap_scan(); as for ipcmap_del() without
 *         NOTFOUND.
 * Memory: as for ipcmap_scan().
 * Crash:  those done so far are deleted.
 * Cost:   a scan of the map. All else as for ipcmap_del().
 */
IPCMAP_API int ipcmap_del_prefix(struct ipcmap *map, const void *prefix, size_t prefix_len,
				 uint64_t *ret_deleted);

/**
 * ipcmap_tune() - change a live map
 * @opt: limit, ttl_ns and compress of the map, for all its users; deadline_ns of this handle;
 *       0 leaves each as it is; why on failure. The other options are ignored.
 *
 * A limit below what is used drops nothing: puts that need memory get LIMIT until it is so.
 *
 * Return:  0; INVALID below the least or above the maximum, then nothing is changed; FULL;
 *          BUSY after 2 s; READONLY, DEADLOCK, INTERRUPTED, PERM, OWNERS as for ipcmap_put().
 * Memory:  nothing is allocated.
 * Threads: as for ipcmap_put(), but deadline_ns is set while no other thread uses the handle.
 * Crash:   each value is changed or not.
 * Cost:    O(1); a higher limit reserves memory for the extent table. All else as for
 *          ipcmap_put().
 */
IPCMAP_API int ipcmap_tune(struct ipcmap *map, const struct ipcmap_options *opt);

/**
 * ipcmap_clear() - forget every key
 *
 * Atomic per shard, not over the whole map [G2]. The memory is reclaimed by later writes.
 * Snapshot tables stay.
 *
 * Return: 0; as for ipcmap_del() without NOTFOUND, and some shards may be clear then.
 * Crash:  the shards done so far are clear.
 * Cost:   O(shards). All else as for ipcmap_del().
 */
IPCMAP_API int ipcmap_clear(struct ipcmap *map);

/**
 * ipcmap_entries() - how many keys there are
 *
 * Exact when nobody writes; expired keys count until their memory is reclaimed.
 *
 * Return: 0; INVALID. Cost: O(shards). All else as for ipcmap_get().
 */
IPCMAP_API int ipcmap_entries(struct ipcmap *map, uint64_t *ret_entries);

/* One entry as ipcmap_scan() shows it; key and val are valid during the callback. */
struct ipcmap_item {
	const void *key;
	size_t key_len;
	const void *val;
	size_t val_len;
	uint64_t version;
	uint64_t ttl_left_ns;
	uint32_t type;
};

#define IPCMAP_SCAN_KEYS 1u /* val is NULL and not read; val_len is right */

/**
 * ipcmap_scan() - walk the keys
 * @cursor: in: 0 to start, or what an earlier call left there; out: where to go on, 0 at
 *          the end, after an error too. It is a plain number that any process may continue
 *          with; it moves between index buckets, not while the keys of one are shown.
 * @prefix: only keys that begin with these @prefix_len bytes; NULL and 0: all
 * @flags:  0 or IPCMAP_SCAN_KEYS
 * @each:   called outside any lock, once a key; it may use the map; anything but 0 ends the
 *          scan after the present index bucket's remaining keys are dropped, and is returned
 *          (the cursor then repeats that bucket)
 *
 * Every key present throughout the scan is shown exactly once, across growth and cleaning
 * [G9]; a key stored or deleted meanwhile may be shown or not.
 *
 * Return:  0 at the end; what @each returned; NOMEM; BUSY; INVALID; CORRUPT; DEADLOCK,
 *          INTERRUPTED, PERM, OWNERS as for ipcmap_put() when a bucket must be locked.
 * Memory:  a buffer of one bucket's entries from malloc(), freed before return, and lost when
 *          @each leaves by longjmp(3), which harms nothing else.
 * Threads: any thread, any process; takes no lock, but a writable attach locks a shard for
 *          one bucket that changed during each of 16 attempts.
 * Signals: not async-signal-safe. Fork: as for ipcmap_get(). Crash: no trace.
 * Cost:    O(entries of the map), whatever the prefix.
 */
IPCMAP_API int ipcmap_scan(struct ipcmap *map, uint64_t *cursor, const void *prefix,
			   size_t prefix_len, unsigned flags,
			   int (*each)(void *arg, const struct ipcmap_item *item), void *arg);

/* What ipcmap_stat() tells. All lengths in bytes. */
struct ipcmap_stat {
	size_t struct_size;    /* in: sizeof(struct ipcmap_stat) */
	uint64_t entries;      /* as ipcmap_entries() */
	uint64_t live_len;     /* bytes of live entries: header, key, value, rounded up */
	uint64_t large_len;    /* bytes in extents of large values */
	uint64_t log_len;      /* bytes of log extents */
	uint64_t index_len;    /* bytes of index extents */
	uint64_t snapshot_len; /* bytes in extents of snapshots, kept or held */
	uint64_t pinned_len;   /* bytes in extents that living processes hold by ipcmap_pin() */
	uint64_t parked_len;   /* of these, or of what they held, bytes that nothing else keeps */
	uint64_t used;         /* bytes taken from the limit, everything in */
	uint64_t limit;        /* bytes */
	uint64_t max;          /* bytes the limit can be raised to */
	uint64_t ttl_ns;       /* default life, IPCMAP_TTL_NONE: for ever */
	uint64_t extent_len;   /* bytes in an extent */
	uint64_t created;      /* seconds since 1970 */
	uint64_t gets, hits;   /* since creation; misses = gets - hits */
	uint64_t puts, dels;   /* acknowledged */
	uint64_t cleaned;      /* entries moved by cleaning */
	uint64_t expired;      /* entries whose memory was reclaimed after they expired */
	uint64_t takeovers;    /* shard locks taken over from dead processes */
	uint64_t waits;        /* sleeps for a shard lock */
	uint64_t compress_raw; /* bytes of the values that were compressed, since creation */
	uint64_t compress_stored; /* what they took */
	uint64_t buckets;      /* index buckets without overflow buckets */
	uint64_t overflows;    /* overflow buckets in use */
	uint64_t ring_len;     /* bytes in extents that keep events of watched shards */
	uint64_t events;       /* told to watchers since creation, however many these were */
	uint64_t gaps;         /* times that a watcher was told that it has lost events */
	uint64_t loads;        /* leases granted since creation */
	uint32_t watched;      /* shards that keep events */
	uint32_t watchers;     /* living processes that watch */
	uint32_t leases;       /* keys that living processes load now, in their time */
	uint32_t leases_waited; /* those of them that others have waited for */
	uint32_t backoffs;     /* keys whose load failed and that nobody may load yet */
	uint32_t compress;     /* shortest value that is compressed; IPCMAP_COMPRESS_OFF */
	uint32_t shards;
	uint32_t attached;     /* owner slots held by living processes */
	uint32_t owners;       /* owner slots in all */
	uint32_t pins;         /* values that living processes hold */
	uint32_t format;       /* version of the segment format */
	uint32_t uid, gid, mode; /* of the file; UINT32_MAX, and mode 0: cannot be asked */
};

/**
 * ipcmap_stat() - facts and counters
 * @ret: struct_size in; the rest out
 *
 * Takes no lock; a shard in the middle of a write is counted as before or after it. Of a shard
 * that is written without a pause each figure is one that it had, perhaps at another moment.
 *
 * Return:  0; INVALID.
 * Memory:  nothing is allocated.
 * Signals: not async-signal-safe.
 * Cost:    O(shards + owners + counter lines), a system call per owner slot that was ever
 *          used, and one per watcher and lease. All else as for ipcmap_get().
 */
IPCMAP_API int ipcmap_stat(struct ipcmap *map, struct ipcmap_stat *ret);

/**
 * ipcmap_check() - verify every invariant of the segment
 * @report: called outside any lock for each finding, at most 64 of a shard, with one line
 *          that says where, which invariant and what; must not write to the map; may be NULL
 *
 * On a writable attach each shard's writers are held while that shard is walked; readers
 * go on. On a read-only attach nothing is held, a shard that changes during its walk is
 * walked again, and one that never stands still is reported as "busy".
 *
 * Return:  the number of findings, 0 when sound; BUSY at the handle's deadline; NOMEM;
 *          CORRUPT, DEADLOCK, INTERRUPTED, PERM, OWNERS as for ipcmap_put(); INVALID.
 * Memory:  some 13 bytes an extent and some KiB from malloc(), freed before return; a line
 *          is valid during its callback.
 * Threads: any thread, any process.
 * Signals: not async-signal-safe. Fork: as for ipcmap_get().
 * Crash:   nothing was changed; a lock that was held is taken over.
 * Cost:    O(entries + extents).
 */
IPCMAP_API int ipcmap_check(struct ipcmap *map, void (*report)(void *arg, const char *line),
			    void *arg);

#define IPCMAP_COMPACT_DRY_RUN 1u /* change nothing; say what could be gained, about */
#define IPCMAP_COMPACT_EXPIRED 2u /* only reclaim what has expired or was cleared; no rest */

/* How to compact. Start from IPCMAP_COMPACT_INIT. */
struct ipcmap_compact_options {
	size_t struct_size; /* sizeof(struct ipcmap_compact_options) */
	unsigned flags;     /* IPCMAP_COMPACT_... */
	/* called between steps, with shards done of all and one; not 0: stop. It must not
	 * write to the map. May be NULL. */
	int (*progress)(void *arg, uint64_t done, uint64_t of);
	void *arg;
};
#define IPCMAP_COMPACT_INIT                                                                    \
	{                                                                                      \
		sizeof(struct ipcmap_compact_options), 0, NULL, NULL                           \
	}

/* What compaction did. Bytes. */
struct ipcmap_compact {
	uint64_t freed;      /* by which the used part of the limit fell */
	uint64_t given_back; /* memory returned to the system */
};

/**
 * ipcmap_compact() - give memory back
 * @how: NULL: everything
 * @ret: may be NULL; set after an error in the middle too, to what was done until then
 *
 * Moves live entries together, merges index buckets, frees what is then unused, lets it rest
 * for a second and returns its pages to the system. In small steps: readers and writers go on.
 * With COMPACT_EXPIRED only extents that hold expired or cleared entries are looked at: those
 * entries go, the others are moved together where they leave an eighth of an extent or more;
 * what that frees counts in @ret->freed and is the map's to use, and no pages are returned.
 *
 * Return:  0; INTERRUPTED when @how->progress stopped it; BUSY at the handle's deadline for a
 *          lock, also when a stopped process keeps extents from being freed; READONLY, for an
 *          estimate too; else as for ipcmap_del() without NOTFOUND.
 * Memory:  nothing is allocated.
 * Threads, Signals, Fork: as for ipcmap_put().
 * Crash:   nothing is lost; the next compaction goes on.
 * Cost:    O(entries) in all; a second of rest when pages are returned; with COMPACT_EXPIRED
 *          O(entries in the extents that hold some), likewise with COMPACT_DRY_RUN.
 */
IPCMAP_API int ipcmap_compact(struct ipcmap *map, const struct ipcmap_compact_options *how,
			      struct ipcmap_compact *ret);

/* struct ipcmap_repair_options flags */
#define IPCMAP_REPAIR_DRY_RUN 1u /* change nothing: say what would be done */
#define IPCMAP_REPAIR_SALVAGE 2u /* where the index is damaged, take entries from the logs */
#define IPCMAP_REPAIR_DISCARD 4u /* do not keep the damaged segment, whatever was lost */
#define IPCMAP_REPAIR_FOREIGN 8u /* as IPCMAP_FOREIGN */

/* How to repair. Start from IPCMAP_REPAIR_INIT. */
struct ipcmap_repair_options {
	size_t struct_size; /* sizeof(struct ipcmap_repair_options) */
	unsigned flags;     /* IPCMAP_REPAIR_... */
	/* called for each thing that is wrong or dropped, with one line, at most 65 of a shard; it
	 * must not use the segment. May be NULL. */
	void (*report)(void *arg, const char *line);
	void *arg;
	char *why;      /* room for one line on failure: what and where; may be NULL */
	size_t why_cap; /* bytes of room in why */
};
#define IPCMAP_REPAIR_INIT                                                                     \
	{                                                                                      \
		sizeof(struct ipcmap_repair_options), 0, NULL, NULL, NULL, 0                   \
	}

/* What repair found and did; with DRY_RUN, what it would do. */
struct ipcmap_repair {
	uint64_t findings; /* of ipcmap_check(), and of the header; 0: nothing is wrong */
	uint64_t kept;     /* entries, those salvaged too */
	uint64_t salvaged; /* of those: in no slot of the index, or in a newer version than there */
	uint64_t dropped;  /* slots of the index that named nothing whole */
	uint64_t missing;  /* keys that were counted, and that no slot names */
	uint64_t left;     /* keys that SALVAGE would bring back, deleted ones among them */
	uint64_t expired;  /* entries that had expired */
	uint64_t versions_kept;    /* of snapshot tables */
	uint64_t versions_dropped;
	uint32_t tables_dropped;   /* snapshot tables of which no version was whole */
	uint32_t replaced;         /* 1: a repaired segment has the name now */
	uint32_t kept_damaged;     /* 1: the damaged one is NAME.damaged now */
};

/**
 * ipcmap_repair() - make a new segment from what is whole of a damaged one
 * @name: as for ipcmap_open(); nobody may have it attached for writing, this process included
 * @how:  NULL: the defaults
 * @ret:  may be NULL
 *
 * Every entry that a get finds and that verifies is kept, with its version, life and type: its
 * key's hash is right for its place, its lengths are, its value unpacks, its memory is its own.
 * So are snapshot versions whose image is whole. The rest is counted and reported. The new
 * segment is built beside the old one and takes its name in one step; it has the same limit,
 * options and counters. When anything was lost or salvaged, the damaged segment stays under
 * the name NAME.damaged. A segment without findings is left as it is.
 *
 * SALVAGE also takes, for keys whose bucket of the index is damaged, the newest entry in the
 * logs. Keys that were deleted, and not yet cleaned away, come back with it: see @ret->left.
 *
 * Processes that have the segment attached read-only go on reading the damaged one.
 *
 * Return:  0, also when nothing was wrong: see @ret; BUSY: it is attached for writing, and why
 *          has the process ids; CREATING: it is being made or repaired; NOTFOUND; NOTMAP;
 *          VERSION; MISMATCH: from before the last boot; PERM, also when neither its owner nor
 *          root calls; CORRUPT: the header cannot be made right, then nothing can be kept;
 *          EXISTS: NAME.repair or NAME.damaged is another file; FULL: there must be room for
 *          both segments; NOMEM; INVALID; DEADLOCK in a signal handler; else as for
 *          ipcmap_open(). After an error the segment is as it was.
 * Memory:  some 24 bytes an entry and the largest value from malloc(), freed before return; a
 *          line is valid during its callback.
 * Threads: any thread; other processes cannot attach it for writing meanwhile: OWNERS.
 * Signals: not async-signal-safe. Fork: usable in the child at once.
 * Crash:   the segment is as it was, or repaired; a file NAME.repair may be left, which the next
 *          repair removes.
 * Cost:    O(entries + extents).
 */
IPCMAP_API int ipcmap_repair(const char *name, const struct ipcmap_repair_options *how,
			     struct ipcmap_repair *ret);

/* ---- configuration snapshots ---- */

#define IPCMAP_TABLE_MAX 63u /* bytes in a table's name */

struct ipcmap_snapshot; /* a version of a table, held; see ipcmap_snapshot_open() */

/* A key and its value. */
struct ipcmap_pair {
	const void *key;
	size_t key_len;
	const void *val;
	size_t val_len;
};

/**
 * ipcmap_snapshot_publish() - make a set of keys the current version of a snapshot table
 * @table:   its name, a string of 1 to IPCMAP_TABLE_MAX bytes; made if it is not there
 * @pairs:   @n of them in any order, each key once; 0 is a version without keys
 * @ret_version: its number, above all earlier ones of the table; may be NULL
 * @why:     room for @why_cap bytes: one line of reason on failure; may be NULL
 *
 * The version is built and stored whole before one store makes it current, so whoever opens
 * the table finds the old version or the new one. The last 8 versions stay for
 * ipcmap_snapshot_rollback(), and those that processes hold for as long as they do. When the
 * versions need more than half of the map's limit together, old ones that nobody holds go,
 * the oldest first; the current ones stay. A version that is replaced while nobody holds it is
 * stored compressed from then on, if that takes less memory.
 *
 * Return:  0; INVALID (a key twice, or of a wrong length); TOOBIG at 4 GiB; FULL: what is
 *          current or held leaves no room, @why has the holders' process ids, or there are as
 *          many tables as there can be; LIMIT, NOMEM; else as for ipcmap_put().
 * Memory:  the caller owns all arguments; twice the pairs' size from malloc() meanwhile.
 * Threads, Signals, Fork: as for ipcmap_put(); publishers take turns for the switch only.
 * Crash:   the new version is current or the old one; nothing is lost or leaks [G4].
 * Cost:    O(n log n), outside any lock.
 */
IPCMAP_API int ipcmap_snapshot_publish(struct ipcmap *map, const char *table,
				       const struct ipcmap_pair *pairs, size_t n,
				       uint64_t *ret_version, char *why, size_t why_cap);

/**
 * ipcmap_snapshot_open() - hold a version of a snapshot table
 * @version: 0: the current one
 * @ret_snap: to be closed by ipcmap_snapshot_close(), before the map is
 *
 * What is opened does not change. Opening a version that this process holds already costs
 * nothing more. A process that is stopped, or forgets to close, keeps that version's memory;
 * one that dies does not. A read-only attach copies the version into memory of its own; so
 * does any attach an old version that is stored compressed, which it then does not hold.
 *
 * Return:  0; NOTFOUND: no such table, or the version is not kept any more; BUSY: it was
 *          replaced 16 times meanwhile; NOMEM; DEADLOCK in a signal handler; INVALID; CORRUPT.
 * Memory:  a few hundred bytes from malloc(); address space for the version.
 * Threads: any thread; takes no lock that other processes know.
 * Signals: not async-signal-safe.
 * Fork:    a snapshot opened before fork() is usable in the child, which holds it for itself
 *          from its first call on. If the parent let it go before that and its memory is gone,
 *          every call says MISMATCH; then open the current version. A child must make a call
 *          before it uses values that its parent looked up.
 * Crash:   no trace.
 * Cost:    O(1) and, unless its extents are neighbours, a system call for each of their runs.
 */
IPCMAP_API int ipcmap_snapshot_open(struct ipcmap *map, const char *table, uint64_t version,
				    struct ipcmap_snapshot **ret_snap);

/**
 * ipcmap_snapshot_close() - let a version go
 * @snap: may be NULL; values looked up in it must not be used any more
 *
 * Memory: what was taken by ipcmap_snapshot_open() is freed, after the last of its opens.
 * Cost:   O(1), some system calls. All else as for ipcmap_snapshot_open().
 */
IPCMAP_API void ipcmap_snapshot_close(struct ipcmap_snapshot *snap);

/**
 * ipcmap_snapshot_get() - look a key up in a held version, without a copy
 * @ret_val: the value, where it lies; valid until @snap is closed; a zero byte follows it
 * @ret_len: its length in bytes; may be NULL
 *
 * Return:  0; NOTFOUND; INVALID; CORRUPT; in a forked child also MISMATCH, and as for
 *          ipcmap_put() when it cannot hold the version for itself.
 * Memory:  nothing is allocated; the value must not be written to.
 * Threads: any thread; takes no lock, waits for nobody, stores nothing.
 * Signals: async-signal-safe, but for the first call in a forked child.
 * Fork:    as for ipcmap_snapshot_open(). Crash: no trace. Cost: O(1) expected.
 */
IPCMAP_API int ipcmap_snapshot_get(struct ipcmap_snapshot *snap, const void *key, size_t key_len,
				   const void **ret_val, size_t *ret_len);

/**
 * ipcmap_snapshot_each() - all keys of a held version, in the order of their bytes
 * @each: anything but 0 ends the walk and is returned; keys and values stay valid as for
 *        ipcmap_snapshot_get()
 *
 * Return: 0; what @each returned; else as for ipcmap_snapshot_get() without NOTFOUND.
 * Cost:   O(n). All else as for ipcmap_snapshot_get().
 */
IPCMAP_API int ipcmap_snapshot_each(struct ipcmap_snapshot *snap,
				    int (*each)(void *arg, const struct ipcmap_pair *pair),
				    void *arg);

/**
 * ipcmap_snapshot_version() - the number of a held version
 * Return: it; 0 for NULL. All else as for ipcmap_snapshot_newer().
 */
IPCMAP_API uint64_t ipcmap_snapshot_version(const struct ipcmap_snapshot *snap);

/**
 * ipcmap_snapshot_count() - the keys in a held version
 * Return: their number; 0 for NULL. All else as for ipcmap_snapshot_newer().
 */
IPCMAP_API uint64_t ipcmap_snapshot_count(const struct ipcmap_snapshot *snap);

/**
 * ipcmap_snapshot_newer() - is this not its table's current version any more?
 *
 * Return:  1, also when the table was dropped or an older version was opened on purpose; 0.
 * Memory:  nothing is allocated.
 * Threads: any thread; takes no lock, waits for nobody, stores nothing.
 * Signals: async-signal-safe. Fork: usable in the child at once. Crash: no trace.
 * Cost:    one load: cheap enough before every request.
 */
IPCMAP_API int ipcmap_snapshot_newer(const struct ipcmap_snapshot *snap);

/**
 * ipcmap_snapshot_refresh() - go over to the current version if it is another one
 * @table: whose; the one @snap was opened with
 * @snap:  in: NULL, or what is held, which is closed when another is opened; out: what is held
 *
 * On failure @snap stays as it was, and usable.
 *
 * Return: 1: another version is held than before; 0: nothing changed; else as for
 *         ipcmap_snapshot_open(): NOTFOUND also when the table was dropped.
 * Cost:   one load when there is none. All else as for ipcmap_snapshot_open().
 */
IPCMAP_API int ipcmap_snapshot_refresh(struct ipcmap *map, const char *table,
				       struct ipcmap_snapshot **snap);

/* A version as ipcmap_snapshot_list() shows it. */
struct ipcmap_snapshot_info {
	char table[IPCMAP_TABLE_MAX + 1];
	uint64_t version;
	uint64_t keys;
	uint64_t len;     /* bytes of the limit that it takes */
	uint64_t time;    /* of publication, seconds since 1970 */
	uint32_t current; /* 1: what ipcmap_snapshot_open() opens */
	uint32_t kept;    /* 1: can be opened; 0: is only there for its holders */
	uint32_t holders; /* processes that hold it; read-only ones hold nothing */
};

/**
 * ipcmap_snapshot_list() - all versions of all tables, by table and version
 * @each: anything but 0 ends the list and is returned; called outside any lock
 *
 * Each version is shown as it was at some moment of the call.
 *
 * Return:  0; what @each returned; NOMEM; INVALID.
 * Memory:  less than 0.1 MiB from malloc(), freed before return; @info is valid during the
 *          callback.
 * Threads: any thread, any process; takes no lock, waits for nobody.
 * Signals: not async-signal-safe. Fork: as for ipcmap_get(). Crash: no trace.
 * Cost:    O(versions + holders), a system call for each holder.
 */
IPCMAP_API int ipcmap_snapshot_list(struct ipcmap *map,
				    int (*each)(void *arg,
						const struct ipcmap_snapshot_info *info),
				    void *arg);

/* A process that holds a version, as ipcmap_snapshot_holders() shows it. */
struct ipcmap_snapshot_holder {
	char table[IPCMAP_TABLE_MAX + 1];
	uint64_t version;
	uint64_t time;    /* of that version's publication, seconds since 1970 */
	uint64_t pid;     /* of the process as it saw itself, and its name: for display only */
	char comm[17];
	uint8_t current;  /* 1: it holds the current version */
	uint8_t kept;     /* 0: the version is only there for its holders */
};

/**
 * ipcmap_snapshot_holders() - which processes hold which versions
 * @each: anything but 0 ends the list and is returned; called outside any lock
 *
 * By table, version and process. Who has held an old version for long is stopped, or forgot to
 * open the newer one. Holders of a table that was dropped are not shown.
 *
 * Return:  0; what @each returned; NOMEM; INVALID.
 * Memory:  less than 0.2 MiB from malloc(), freed before return; @holder is valid during the
 *          callback.
 * Cost:    O(versions * holders), a system call for each. All else as for
 *          ipcmap_snapshot_list().
 */
IPCMAP_API int ipcmap_snapshot_holders(
	struct ipcmap *map, int (*each)(void *arg, const struct ipcmap_snapshot_holder *holder),
	void *arg);

/**
 * ipcmap_snapshot_wait() - sleep until a table's current version is another one
 * @version:     the one that the caller has; 0: none, and a table that is not there is waited
 *               for
 * @deadline_ns: how long to wait at most; 0: the handle's default; NOWAIT; FOREVER
 * @ret_version: the current version, 0 when the table was dropped; may be NULL
 *
 * Versions that were current in between are not told: open the current one, and wait with its
 * number. A publisher that is killed after its version became current may leave the waiters
 * asleep for up to 0.25 s; so may one that was built with a library of before this call. A
 * read-only attach looks 50 times a second.
 *
 * Return:  0; BUSY at the deadline; INTERRUPTED, within 0.25 s of ipcmap_interrupt();
 *          MISMATCH: a repaired segment took the place of this one; INVALID.
 * Memory:  nothing is allocated.
 * Threads: any thread, any process; takes no lock. Any number may wait.
 * Signals: async-signal-safe; a handler that returns does not end the wait. Fork: usable in
 *          the child at once.
 * Crash:   no trace: at most one needless system call of the next publisher.
 * Cost:    O(tables) for each look; four looks a second while it sleeps.
 */
IPCMAP_API int ipcmap_snapshot_wait(struct ipcmap *map, const char *table, uint64_t version,
				    uint64_t deadline_ns, uint64_t *ret_version);

/**
 * ipcmap_snapshot_rollback() - publish the content of an older version again
 * @version: 0: the one before the current
 * @ret_version: the number of the new version; may be NULL
 *
 * Return: 0; NOTFOUND; else as for ipcmap_snapshot_publish(). All else as there.
 */
IPCMAP_API int ipcmap_snapshot_rollback(struct ipcmap *map, const char *table, uint64_t version,
					uint64_t *ret_version);

/**
 * ipcmap_snapshot_drop() - forget a table and its versions
 *
 * Whoever holds a version keeps it.
 *
 * Return: 0; NOTFOUND; else as for ipcmap_del().
 * Crash:  the table is gone or not; what it leaves goes with the next publication or check.
 * Cost:   O(versions + holders). All else as for ipcmap_snapshot_publish().
 */
IPCMAP_API int ipcmap_snapshot_drop(struct ipcmap *map, const char *table);

#define IPCMAP_TYPE_NEGATIVE 255u /* type of an entry that says: there is no such thing */

/* How to load a key for all processes. Start from IPCMAP_FILL_INIT; 0 means the default. */
struct ipcmap_fill_options {
	size_t struct_size;       /* sizeof(struct ipcmap_fill_options) */
	uint32_t type;            /* of the value, 0 .. 254 */
	unsigned jitter;          /* percent, as in struct ipcmap_put_options */
	uint64_t ttl_ns;          /* life of the value; 0: the map's default; TTL_NONE */
	uint64_t negative_ttl_ns; /* life of "there is no such thing"; 0: it is not stored */
	uint64_t stale_ns;        /* an expired value serves so long while another one loads */
	uint64_t lease_ns;        /* how long a load may take; 0: 10 s; at most 1 h */
	uint64_t load_ns;         /* how long a load takes, about; for early, until it is known */
	unsigned early;           /* percent, to 10,000: refresh before the end, by chance */
	uint64_t backoff_ns;      /* after a failure none loads for so long; 0: 100 ms */
	uint64_t backoff_max_ns;  /* twice that after each more, to this; 0: 30 s; at most 1 h */
	uint64_t deadline_ns;     /* of waiting; 0: the handle's default; NOWAIT; FOREVER */
};
#define IPCMAP_FILL_INIT                                                                       \
	{                                                                                      \
		sizeof(struct ipcmap_fill_options), 0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0          \
	}

/* What a loader says. All but val and len is set before it is called. */
struct ipcmap_loaded {
	const void *val;            /* the value; may be NULL when len is 0 */
	size_t len;                 /* bytes in it */
	uint32_t type;              /* as in the options */
	uint64_t ttl_ns;            /* as in the options */
	void (*release)(void *val); /* NULL, or called with val when it is not used any more */
};

/**
 * ipcmap_fill() - the value of a key, loaded by one process for all that miss it
 * @how:  NULL: IPCMAP_FILL_INIT
 * @load: called when the key is not there and nobody loads it: 0 with *@ret set; NOTFOUND:
 *        there is no such thing; another negative error: it failed. Anything above 0 is -EIO.
 * @ret:  as for ipcmap_getx(); ttl_left_ns is 0 when the value has expired; means nothing
 *        after an error but len after SHORT
 *
 * The others wait to their deadline, or take the expired value at once if @how->stale_ns
 * allows it. A loader that dies is succeeded within some 20 ms. What was loaded is stored only
 * if the key was not put, deleted or cleared since the load began; otherwise the key is looked
 * up, and loaded again if need be, so nothing is returned that a delete was to take away. A
 * value that cannot be stored (LIMIT, FULL, TOOBIG, BUSY) is returned nevertheless.
 *
 * Return:  0; NOTFOUND, as @load said, here or lately elsewhere; what @load returned, here or,
 *          if that was lately, elsewhere; SHORT with ret->len: the value is stored, come again;
 *          BUSY at the deadline; MISMATCH: the key was changed during 8 loads; DEADLOCK: inside
 *          this thread's own load of the key, or own write; VERSION: the segment was made
 *          before there were leases; INTERRUPTED; READONLY; PERM; OWNERS; INVALID; CORRUPT. When
 *          there is a value that may be returned, it is, in place of most errors.
 * Memory:  the caller owns all arguments; nothing is allocated, as for ipcmap_put().
 * Threads: any thread, any process; holds no lock while @load runs, which may call this map.
 * Signals: not async-signal-safe.
 * Fork:    as for ipcmap_get(); @load may fork.
 * Crash:   the value is stored whole or not at all; another process loads.
 * Cost:    a getx when the value is there; else a look under the lock, the load, a put.
 */
IPCMAP_API int ipcmap_fill(struct ipcmap *map, const void *key, size_t key_len,
			   const struct ipcmap_fill_options *how,
			   int (*load)(void *arg, const void *key, size_t key_len,
				       struct ipcmap_loaded *ret),
			   void *arg, struct ipcmap_value *ret);

/**
 * ipcmap_fill_alloc() - as ipcmap_fill(), into memory from malloc()
 * @ret_buf: the value and one zero byte after it
 * @ret_len: length of the value without that byte; may be NULL
 *
 * Return:  as for ipcmap_fill() without SHORT; NOMEM.
 * Memory:  the caller frees @ret_buf with free(). All else as for ipcmap_fill().
 */
IPCMAP_API int ipcmap_fill_alloc(struct ipcmap *map, const void *key, size_t key_len,
				 const struct ipcmap_fill_options *how,
				 int (*load)(void *arg, const void *key, size_t key_len,
					     struct ipcmap_loaded *ret),
				 void *arg, void **ret_buf, size_t *ret_len);

#define IPCMAP_LEAD 1 /* ipcmap_lease(): load it, and say ipcmap_lease_put() or _fail() */

/* The right to load a key; may be copied. Only has_value is for the caller. */
struct ipcmap_lease {
	uint64_t began_ns;
	uint32_t place;
	uint32_t owner;
	uint32_t grant;
	uint32_t has_value; /* 1: with IPCMAP_LEAD there is a value that serves if the load fails */
};

/**
 * ipcmap_lease() - ipcmap_fill() in two steps: the value, or the right to load it
 * @how:       as for ipcmap_fill()
 * @ret_lease: set on IPCMAP_LEAD
 * @ret:       as for ipcmap_fill(); also set with ret_lease->has_value
 *
 * Return:  0: the value is there; IPCMAP_LEAD: load it now, others wait; else as for
 *          ipcmap_fill() without what only a load says.
 * Threads: any thread, any process; another thread may do the second step, and so may a child
 *          that is forked in between, while this process lives. All else as for ipcmap_fill().
 */
IPCMAP_API int ipcmap_lease(struct ipcmap *map, const void *key, size_t key_len,
			    const struct ipcmap_fill_options *how,
			    struct ipcmap_lease *ret_lease, struct ipcmap_value *ret);

/**
 * ipcmap_lease_put() - the second step: store what was loaded
 *
 * Ends the lease, whatever it returns. After its time a lease is good as long as nobody else
 * was granted it and its place was not needed.
 *
 * Return: 0; MISMATCH: the key was put, deleted or cleared meanwhile, or somebody else loads
 *         it now: nothing was stored; else as for ipcmap_put(); VERSION. All else as for
 *         ipcmap_put().
 */
IPCMAP_API int ipcmap_lease_put(struct ipcmap *map, const void *key, size_t key_len,
				const struct ipcmap_lease *lease, const void *val,
				size_t val_len, const struct ipcmap_fill_options *how);

/**
 * ipcmap_lease_fail() - the second step: there is nothing to store
 * @err: NOTFOUND: there is no such thing, which is stored for negative_ttl_ns; another negative
 *       error: the load failed, and callers get @err until it is time to try again; 0: neither,
 *       and whoever waits loads
 *
 * Return: 0; MISMATCH, as for ipcmap_lease_put(), and nothing was noted; else as for
 *         ipcmap_lease_put(). All else as for ipcmap_lease_put().
 */
IPCMAP_API int ipcmap_lease_fail(struct ipcmap *map, const void *key, size_t key_len,
				 const struct ipcmap_lease *lease,
				 const struct ipcmap_fill_options *how, int err);

/* ---- watching ---- */

struct ipcmap_watch; /* what happens to some keys from now on; see ipcmap_watch_open() */

/* what is watched */
#define IPCMAP_WATCH_KEY 1u    /* one key */
#define IPCMAP_WATCH_PREFIX 2u /* keys that begin with some bytes */
#define IPCMAP_WATCH_ALL 3u    /* every key */

/* what happened */
#define IPCMAP_EVENT_PUT 1u    /* stored, or added to; not touched: the version stays */
#define IPCMAP_EVENT_DEL 2u    /* deleted, or taken */
#define IPCMAP_EVENT_EXPIRE 3u /* it had expired, and its memory was reclaimed now */
#define IPCMAP_EVENT_EVICT 4u  /* reserved */
#define IPCMAP_EVENT_CLEAR 5u  /* all keys of the group, with a lower version, were forgotten */
#define IPCMAP_EVENT_GAP 6u    /* events of the group's keys were lost: read those keys again */

/* An event as ipcmap_watch_next() shows it. */
struct ipcmap_event {
	unsigned op;      /* IPCMAP_EVENT_... */
	uint32_t group;   /* of the key, as ipcmap_group() tells; the group of a CLEAR or a GAP */
	const void *key;  /* valid until the next call for this watch; NULL with CLEAR and GAP */
	size_t key_len;   /* 0 then */
	uint64_t version; /* of the change; rises from event to event of a group; 0 with GAP */
};

/**
 * ipcmap_watch_open() - watch a key, the keys of a prefix, or all keys, from now on
 * @key:  the key, or the prefix, of @key_len bytes; NULL and 0 with IPCMAP_WATCH_ALL
 * @what: IPCMAP_WATCH_...
 * @ret_watch: to be closed by ipcmap_watch_close(), before the map is
 *
 * Every change made after this call returns is shown by ipcmap_watch_next(), once and in the
 * order in which it was made, for each key; keys of different groups have no order. So who
 * opens a watch, reads the keys, and then does to what was read as the events say, has what
 * the map has. An event says which key changed and how, not its value: a get finds that value
 * or a later one.
 *
 * A shard that is watched keeps its last events in one extent of the map's limit. A watcher
 * that falls further behind gets a GAP. A watch of one key that is there gets one only when
 * that key did change, however much its shard is written to. A key longer than about a quarter
 * of an extent is told as a GAP.
 *
 * A key that expires is gone for readers at its time; its EXPIRE comes when its memory is
 * reclaimed, by later writes or ipcmap_compact(), or when a delete finds it. A put over an
 * expired key is a PUT.
 *
 * Return:  0; VERSION: the segment was made by a library that had no watches; LIMIT, FULL: no
 *          room for the events; NOMEM; READONLY; INVALID; else as for ipcmap_del() without
 *          NOTFOUND.
 * Memory:  some KiB from malloc() and the key; an extent for each shard that is watched, shared
 *          by all who watch it, given back after the last of them, or when they died.
 * Threads: any thread, any process. Signals: not async-signal-safe.
 * Fork:    a watch is of the process that opened it: in a forked child every call on it says
 *          MISMATCH, but ipcmap_watch_close(); open one there.
 * Crash:   the watch ends; what it took is given back by those who write.
 * Cost:    O(1) for a key, O(shards) for the others. Writers of a watched shard append 24
 *          bytes and the key to each change; others pay one load.
 */
IPCMAP_API int ipcmap_watch_open(struct ipcmap *map, const void *key, size_t key_len,
				 unsigned what, struct ipcmap_watch **ret_watch);

/**
 * ipcmap_watch_next() - the next event
 * @deadline_ns: how long to wait for one; 0: the handle's default; NOWAIT; FOREVER
 * @ret: the event
 *
 * Events that come while nobody calls are kept, see ipcmap_watch_open().
 *
 * Return:  0; BUSY: there was none until the deadline; INTERRUPTED; MISMATCH in a forked child;
 *          CORRUPT; INVALID.
 * Memory:  nothing is allocated; the key is the watch's.
 * Threads: one thread at a time for each watch; takes no lock that other processes know, and
 *          waits for no other process. Sleepers are woken by changes of their key, their prefix
 *          or any key, and look for themselves once a second.
 * Signals: not async-signal-safe. Fork: as for ipcmap_watch_open().
 * Crash:   as for ipcmap_watch_open().
 * Cost:    O(events of the watched shards since the last call); a system call when it sleeps.
 */
IPCMAP_API int ipcmap_watch_next(struct ipcmap_watch *watch, uint64_t deadline_ns,
				 struct ipcmap_event *ret);

/**
 * ipcmap_watch_fd() - a descriptor for poll(2), epoll(7) and event loops
 *
 * It is readable when ipcmap_watch_next() may have an event. Then call that with NOWAIT until
 * it says BUSY: only then the descriptor is reset. The first call starts a thread, which takes
 * no signals; later ones return the same descriptor. It is not read, written or closed by the
 * caller.
 *
 * Return:  the descriptor, close-on-exec; MISMATCH in a forked child; NOMEM; INVALID; errors of
 *          eventfd(2) and pthread_create(3).
 * Memory:  the thread's stack. Threads: as for ipcmap_watch_next().
 * Signals: not async-signal-safe. Fork: as for ipcmap_watch_open().
 * Crash:   as for ipcmap_watch_open().
 * Cost:    O(1), some system calls.
 */
IPCMAP_API int ipcmap_watch_fd(struct ipcmap_watch *watch);

/**
 * ipcmap_watch_close() - watch no longer
 * @watch: may be NULL; no other thread may be using it; its events' keys are gone
 *
 * Memory:  what was taken is freed, and the shards' extents are given back if nobody else
 *          watches them.
 * Threads: waits for the thread of ipcmap_watch_fd(), and up to 10 ms for a shard's lock.
 * Signals: not async-signal-safe. Fork: in a forked child frees the memory only.
 * Crash:   as for ipcmap_watch_open().
 * Cost:    O(owners) for a key, O(owners x shards) for the others.
 */
IPCMAP_API void ipcmap_watch_close(struct ipcmap_watch *watch);

/**
 * ipcmap_group() - which keys a CLEAR or a GAP concerns
 *
 * Return: the group of a key, below the map's number of shards; INVALID. It never changes.
 * Cost:   a hash of the key. All else as for ipcmap_get().
 */
IPCMAP_API int ipcmap_group(struct ipcmap *map, const void *key, size_t key_len);

/* What ipcmap_inspect() tells: the header as it stands in the segment. All lengths in bytes. */
struct ipcmap_inspect {
	size_t struct_size;    /* in: sizeof(struct ipcmap_inspect) */
	uint64_t compat;       /* feature bits that a library may ignore when it only reads */
	uint64_t incompat;     /* feature bits that it must know */
	uint64_t creation;     /* random number of this creation */
	uint64_t created;      /* seconds since 1970 */
	uint64_t file_len;     /* of the segment, sparse */
	uint64_t owner_off;    /* where the owner slots begin, ... */
	uint64_t line_off;     /* ... the threads' counter lines, ... */
	uint64_t shard_off;    /* ... the shards, ... */
	uint64_t table_off;    /* ... the extent table, ... */
	uint64_t extent_off;   /* ... the extents */
	uint64_t limit;        /* bytes, everything in */
	uint64_t ttl_ns;       /* default life, IPCMAP_TTL_NONE: for ever */
	uint64_t takeovers;    /* of the space lock from dead processes */
	uint64_t prefix_lens;  /* bit n: prefixes of n bytes were watched; 0: of 64 and more */
	uint64_t gaps;         /* times that a watcher was told that it has lost events */
	uint32_t format;       /* version of the segment format */
	uint32_t extent_len;
	uint32_t unit_len;     /* references count in units of it; entries are aligned to it */
	uint32_t extents;      /* in the table */
	uint32_t extents_limit; /* that may be in use */
	uint32_t extents_used;
	uint32_t extents_fresh; /* from this one on none was ever used */
	uint32_t extents_queued; /* free after use */
	uint32_t owners;
	uint32_t lines;
	uint32_t lines_used;   /* that a thread, or a dead process, has */
	uint32_t shards;
	uint32_t index_max;    /* index extents that a shard can have */
	uint32_t lock_slot;    /* owner slot that has the space lock; 0: free */
	uint32_t lock_gen;     /* generation of that owner */
	uint32_t armed;        /* 1: a change of the extent table is under way, or was left */
	uint8_t boot_id[16];   /* of the kernel under which it was made; zero: unknown */
};

/**
 * ipcmap_inspect() - the header, the options and the state of the extent table
 * @ret: struct_size in; the rest out
 *
 * This and the calls below show the numbers as they stand, one by one, for people who look
 * for a fault: they need not agree with each other while somebody writes, nor in a segment
 * that is damaged, and may be any at all there. ipcmap_stat() has figures that agree.
 *
 * Return:  0; INVALID.
 * Memory:  nothing is allocated.
 * Threads: any thread, any process; takes no lock, waits for nobody; works on a read-only
 *          attach and stores nothing. Signals, Fork: as for ipcmap_get().
 * Crash:   no trace.
 * Cost:    O(lines), no system call.
 */
IPCMAP_API int ipcmap_inspect(struct ipcmap *map, struct ipcmap_inspect *ret);

/* An owner slot: a process that is, or was, attached for writing. */
struct ipcmap_owner_info {
	size_t struct_size; /* in: sizeof(struct ipcmap_owner_info) */
	uint64_t pid;       /* as that process saw itself; for display only, like the next three */
	uint64_t start;     /* clock ticks since boot when it started; with pid it is unique */
	uint64_t attached;  /* seconds since 1970 */
	char comm[17];      /* its name; any bytes, ends with a zero byte */
	uint8_t alive;      /* 1: its memory is still there, or it cannot be told */
	uint32_t slot;      /* 1 .. owners */
	uint32_t gen;       /* how often the slot was taken; 0: never */
	uint32_t extents;   /* being filled by it, large values counted as one */
	uint32_t lines;     /* counter lines of its threads */
	uint32_t watches;   /* bit n: shards that are n modulo 32 */
	uint32_t leases;    /* keys that it loads, or did when it died */
	uint32_t pins;      /* values that it holds, likewise */
};

/**
 * ipcmap_inspect_owner() - who has an owner slot
 * @i:   0 .. owners - 1
 * @ret: struct_size in; the rest out
 *
 * Return: 0; NOTFOUND when @i is beyond the last; INVALID. Signals: not async-signal-safe.
 * All else as for ipcmap_inspect(). Cost: O(lines + shards), up to three system calls.
 */
IPCMAP_API int ipcmap_inspect_owner(struct ipcmap *map, uint32_t i,
				    struct ipcmap_owner_info *ret);

#define IPCMAP_NO_EXTENT UINT32_MAX

/* A shard as it stands. */
struct ipcmap_shard_info {
	size_t struct_size;   /* in: sizeof(struct ipcmap_shard_info) */
	uint64_t entries;
	uint64_t live_len;    /* bytes of live entries */
	uint64_t large_len;   /* bytes in extents of large values */
	uint64_t version;     /* of its next write */
	uint64_t floor;       /* entries with a lower version were cleared */
	uint64_t buckets;     /* of the index, without overflow buckets */
	uint64_t overflows;   /* overflow buckets in use */
	uint64_t moves;       /* of entries in the index, other than by splits */
	uint64_t reclaims;    /* releases of memory */
	uint64_t cleaned;     /* entries moved by cleaning */
	uint64_t expired;     /* entries reclaimed after they expired */
	uint64_t takeovers;   /* of its lock from dead processes */
	uint64_t redo_seq;    /* of its redo list; odd: the list is armed */
	uint64_t ring_head;   /* bytes of events ever appended, and what a new ring began with */
	uint64_t events;      /* ever appended */
	uint64_t lease_grants; /* leases ever granted */
	uint32_t redo_stores; /* in the list */
	uint32_t lock_slot;   /* owner slot that has its lock; 0: free */
	uint32_t lock_gen;    /* generation of that owner */
	uint32_t lock_waited; /* 1: somebody sleeps for it */
	uint32_t log_extents; /* in its list of logs */
	uint32_t index_extents;
	uint32_t overflow_extents;
	uint32_t ahead_extents; /* fetched ahead */
	uint32_t hot;         /* extent that fresh writes go to, or IPCMAP_NO_EXTENT */
	uint32_t cold;        /* extent that survivors of cleaning go to, likewise */
	uint32_t reserve;     /* extent kept for cleaning, likewise */
	uint32_t freeing;     /* extents on their way to being free */
	uint32_t parked_extents; /* to be freed when nobody holds a value in them any more */
	uint32_t splitting;   /* 1: the index is in the middle of a split or a compaction */
	uint32_t ring;        /* extent that keeps its events; IPCMAP_NO_EXTENT: it is not watched */
	uint32_t leases;      /* granted, to the living or the dead */
	uint32_t leases_waited; /* those of them that others have waited for */
	uint32_t leases_failed; /* keys whose last load is remembered to have failed */
};

/**
 * ipcmap_inspect_shard() - how a shard stands
 * @i:   0 .. shards - 1
 * @ret: struct_size in; the rest out
 *
 * While the redo list is armed its values are about to replace some of those shown.
 * Return: 0; NOTFOUND when @i is beyond the last; INVALID. All else as for ipcmap_inspect().
 * Cost: O(1), no system call.
 */
IPCMAP_API int ipcmap_inspect_shard(struct ipcmap *map, uint32_t i,
				    struct ipcmap_shard_info *ret);

/* States of extents, as in ipcmap(5). */
#define IPCMAP_EXTENT_FREE 0u
#define IPCMAP_EXTENT_PRIVATE 1u  /* being filled by a process */
#define IPCMAP_EXTENT_PIECE 2u    /* the second and later ones of a large value; or free */
#define IPCMAP_EXTENT_RESERVED 3u /* in a shard's hand, not in use yet */
#define IPCMAP_EXTENT_LOG 4u
#define IPCMAP_EXTENT_INDEX 5u
#define IPCMAP_EXTENT_LARGE 6u    /* the first one of a large value */
#define IPCMAP_EXTENT_PARKED 7u   /* to be freed when nobody holds a value in it any more */
#define IPCMAP_EXTENT_OTHER 8u    /* what cannot be */
#define IPCMAP_EXTENT_STATES 9u

/* Extents of one shard, or of none. */
struct ipcmap_extent_counts {
	uint64_t n[IPCMAP_EXTENT_STATES]; /* by state */
	uint64_t backed; /* that have memory */
	uint64_t filled; /* bytes appended to LOG extents */
	uint64_t live;   /* bytes of LOG extents that count, cleared ones as long as they lie there */
};

/**
 * ipcmap_inspect_extents() - count extents by shard and state
 * @ret: @n of them, one more than there are shards; the last is for extents of no shard: FREE,
 *       PRIVATE, PIECE, and words that name a shard that cannot be
 *
 * Extents that were never used count as FREE. Return: 0; INVALID, also for another @n. All
 * else as for ipcmap_inspect(). Cost: O(extents), no system call.
 */
IPCMAP_API int ipcmap_inspect_extents(struct ipcmap *map, struct ipcmap_extent_counts *ret,
				      size_t n);

/**
 * ipcmap_interrupt() - end this process's waits in this map
 * @map: may be NULL
 *
 * Calls that wait at this moment, in any thread and through any handle of the attachment,
 * return INTERRUPTED within 5 ms, ipcmap_snapshot_wait() within 0.25 s. Those that begin later
 * do not.
 *
 * Memory:  nothing is allocated.
 * Threads: any thread; other processes do not notice.
 * Signals: async-signal-safe. Fork: parent and child interrupt each their own waits.
 * Crash:   no trace. Cost: one atomic addition.
 */
IPCMAP_API void ipcmap_interrupt(struct ipcmap *map);

/**
 * ipcmap_why() - one line on why this handle's segment cannot be written, or ""
 *
 * After PERM in a forked child it says why the segment could not be reopened.
 *
 * Return: never NULL.
 * Memory: the string goes with the map, and changes when the segment is reopened. All else
 *         as for ipcmap_strerror().
 */
IPCMAP_API const char *ipcmap_why(struct ipcmap *map);

/**
 * ipcmap_strerror() - one line for an error
 * @err: a negative value that a call returned
 *
 * Return:  never NULL.
 * Memory:  the string is constant and the library's.
 * Threads: any thread. Signals: async-signal-safe. Fork: usable in the child at once.
 * Crash:   no trace. Cost: O(1).
 */
IPCMAP_API const char *ipcmap_strerror(int err);

/**
 * ipcmap_errname() - "IPCMAP_FULL" and so on
 *
 * Return: "" for a value that has no name here. All else as for ipcmap_strerror().
 */
IPCMAP_API const char *ipcmap_errname(int err);

#ifdef __cplusplus
}
#endif
#endif
