/* SPDX-License-Identifier: MIT */
/*
 * peer-urcu.c - liburcu's lock-free resizable hash table, in one process
 *
 * A node holds key and value in one block. A put replaces the node and frees the old one after
 * a grace period; it takes no lock. The table has as many buckets as there will be entries from
 * the beginning and does not resize itself: with liburcu 0.13, a table that began small was
 * slower, and with CDS_LFHT_ACCOUNTING it often did not grow at all.
 */
#include "peer.h"

#include <stdlib.h>
#include <string.h>
#include <urcu.h>
#include <urcu/rculfhash.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct node {
	struct cds_lfht_node link;
	struct rcu_head rcu;
	uint32_t key_len, val_len;
	unsigned char bytes[];
};

struct key {
	const void *bytes;
	size_t len;
};

static struct cds_lfht *table;

static int create(const struct bench_conf *conf)
{
	unsigned long buckets = 1024;

	while (buckets < conf->n)
		buckets *= 2;
	table = cds_lfht_new(buckets, 1024, 0, 0, NULL);
	return table ? 0 : bench_fail("cds_lfht_new failed");
}

static int attach(void **ret_worker)
{
	rcu_register_thread();
	*ret_worker = NULL;
	return 0;
}

static struct node *node_of(struct cds_lfht_node *link)
{
	return caa_container_of(link, struct node, link);
}

static int match(struct cds_lfht_node *link, const void *key)
{
	const struct node *n = node_of(link);
	const struct key *k = key;

	return n->key_len == k->len && !memcmp(n->bytes, k->bytes, k->len);
}

static void free_node(struct rcu_head *head)
{
	free(caa_container_of(head, struct node, rcu));
}

static int get(void *worker, const void *key, size_t key_len, void *buf, size_t cap,
	       size_t *ret_len)
{
	struct key k = {key, key_len};
	struct cds_lfht_iter it;
	const struct node *n;
	int rc = 0;

	(void)worker;
	rcu_read_lock();
	cds_lfht_lookup(table, XXH3_64bits(key, key_len), match, &k, &it);
	if (it.node) {
		n = node_of(it.node);
		if (n->val_len <= cap) {
			*ret_len = n->val_len;
			memcpy(buf, n->bytes + n->key_len, n->val_len);
			rc = 1;
		} else {
			rc = bench_fail("too long");
		}
	}
	rcu_read_unlock();
	return rc;
}

static int put(void *worker, const void *key, size_t key_len, const void *val, size_t val_len)
{
	struct node *n = malloc(sizeof(*n) + key_len + val_len);
	struct key k = {key, key_len};
	struct cds_lfht_node *old;

	(void)worker;
	if (!n)
		return bench_fail("no memory");
	cds_lfht_node_init(&n->link);
	n->key_len = (uint32_t)key_len;
	n->val_len = (uint32_t)val_len;
	memcpy(n->bytes, key, key_len);
	memcpy(n->bytes + key_len, val, val_len);
	rcu_read_lock();
	old = cds_lfht_add_replace(table, XXH3_64bits(key, key_len), match, &k, &n->link);
	if (old)
		call_rcu(&node_of(old)->rcu, free_node);
	rcu_read_unlock();
	return 1;
}

static int del(void *worker, const void *key, size_t key_len)
{
	struct key k = {key, key_len};
	struct cds_lfht_iter it;
	int gone;

	(void)worker;
	rcu_read_lock();
	cds_lfht_lookup(table, XXH3_64bits(key, key_len), match, &k, &it);
	gone = it.node && !cds_lfht_del(table, it.node);
	if (gone)
		call_rcu(&node_of(it.node)->rcu, free_node);
	rcu_read_unlock();
	return gone;
}

const struct bench_peer bench_peer = {
	.name = "urcu",
	.how = "liburcu lfht made with its final size, membarrier flavor; threads of one "
	       "process",
	.create = create,
	.attach = attach,
	.get = get,
	.put = put,
	.del = del,
};
