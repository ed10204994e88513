/* SPDX-License-Identifier: MIT */
/*
 * t-fill-late.c - a process that is held up between storing what it loaded and returning it
 */
#include "crash.h"
#include "kit.h"

#if defined(IM_CHECK) && IM_CHECK
static bool is_held_up;

static void hold_up(const char *name)
{
	if (strcmp(name, "lease.voided") == 0 && !is_held_up) {
		is_held_up = true;
		kit_time += 5 * KIT_SEC;
	}
}

static int load(void *arg, const void *key, size_t key_len, struct ipcmap_loaded *ret)
{
	(void)arg;
	(void)key;
	(void)key_len;
	ret->val = "v";
	ret->len = 1;
	is_held_up = false;
	im_crash_hook = hold_up;
	return 0;
}

/* It was the life left less the time beyond it, which is a life of centuries. */
static void fill_late__value_that_expired_since_it_was_stored_has_no_life_left(void)
{
	struct ipcmap_fill_options how = IPCMAP_FILL_INIT;
	char buf[8];
	struct ipcmap_value v = {.buf = buf, .cap = sizeof(buf)};
	struct ipcmap *m = kit_made(T_NAME, KIT_MIB, 0, 1);

	kit_clock_on();
	how.ttl_ns = 2 * KIT_SEC;
	CU_ASSERT(ipcmap_fill(m, "k", 1, &how, load, NULL, &v) == 0 && v.len == 1);
	im_crash_hook = NULL;
	CU_ASSERT(is_held_up && v.ttl_left_ns == 0);
	kit_clock_off();
	kit_gone(m);
}
#endif

static CU_TestInfo tests[] = {
#if defined(IM_CHECK) && IM_CHECK
	{"a value that expired since it was stored has no life left",
	 fill_late__value_that_expired_since_it_was_stored_has_no_life_left},
#endif
	CU_TEST_INFO_NULL,
};
T_SUITE("fill-late", tests)
