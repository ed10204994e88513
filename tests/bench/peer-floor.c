/* SPDX-License-Identifier: MIT */
/*
 * peer-floor.c - what any map in shared memory has to do, and nothing else
 *
 * A get is XXH3, one load of a slot, one load of the entry that the slot names, and a copy of
 * the value: two dependent cache misses when the table is larger than the caches. No lock, no
 * comparison of the key (32 bits of the hash are in the slot), no deletes, no safety: a read
 * beside a write can be torn, and two inserts at once can lose one. The table is in shared
 * memory, at most half full, so nearly every search ends in the first cache line. The figures
 * of the others are judged by their ratio to this one in the same run.
 */
#include "peer.h"

#include <string.h>
#include <sys/mman.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define REF_BITS 32u /* of a slot: where the entry is / UNIT; above it the hash's upper bits */
#define UNIT 16u

struct entry {
	uint32_t key_len, val_len;
	unsigned char bytes[];
};

struct floor {
	uint64_t mask, fill;
	size_t key_max, val_max;
};

static struct floor *head;
static uint64_t *slots;
static unsigned char *entries;

static void *reserve(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static size_t entry_len(void)
{
	return (sizeof(struct entry) + head->key_max + head->val_max + UNIT - 1) / UNIT * UNIT;
}

static int create(const struct bench_conf *conf)
{
	uint64_t n = 16;

	while (n < conf->n * 2)
		n *= 2;
	head = reserve(sizeof(*head));
	slots = reserve(n * sizeof(*slots));
	if (!head || !slots)
		return bench_fail("no memory");
	head->mask = n - 1;
	head->fill = UNIT;
	head->key_max = conf->key_max;
	head->val_max = conf->val_max;
	entries = reserve(conf->n * entry_len() + UNIT);
	return entries ? 0 : bench_fail("no memory");
}

static int attach(void **ret_worker)
{
	*ret_worker = NULL;
	return 0;
}

/* The slot of the key, or the empty one where it would go. */
static uint64_t *find(const void *key, size_t len, uint64_t *ret_tag)
{
	uint64_t h = XXH3_64bits(key, len), tag = h >> REF_BITS << REF_BITS, k = h & head->mask;

	*ret_tag = tag;
	while (slots[k] && (slots[k] ^ tag) >> REF_BITS)
		k = (k + 1) & head->mask;
	return &slots[k];
}

static struct entry *at(uint64_t slot)
{
	return (struct entry *)(entries + (slot & ((1ull << REF_BITS) - 1)) * UNIT);
}

static int get(void *worker, const void *key, size_t key_len, void *buf, size_t cap,
	       size_t *ret_len)
{
	uint64_t tag, slot = *find(key, key_len, &tag);
	const struct entry *e;

	(void)worker;
	if (!slot)
		return 0;
	e = at(slot);
	if (e->val_len > cap)
		return bench_fail("too long");
	*ret_len = e->val_len;
	memcpy(buf, e->bytes + e->key_len, e->val_len);
	return 1;
}

static int put(void *worker, const void *key, size_t key_len, const void *val, size_t val_len)
{
	uint64_t tag, *slot = find(key, key_len, &tag), ref = *slot;
	struct entry *e;

	(void)worker;
	if (!ref) {
		ref = tag | head->fill / UNIT;
		head->fill += entry_len();
	}
	e = at(ref);
	e->key_len = (uint32_t)key_len;
	e->val_len = (uint32_t)val_len;
	memcpy(e->bytes, key, key_len);
	memcpy(e->bytes + key_len, val, val_len);
	*slot = ref;
	return 1;
}

const struct bench_peer bench_peer = {
	.name = "floor",
	.how = "XXH3, two dependent loads and a copy, in shared memory; not a real map",
	.flags = BENCH_PROCESSES | BENCH_NO_DEL,
	.create = create,
	.attach = attach,
	.get = get,
	.put = put,
};
