/* SPDX-License-Identifier: MIT */
/*
 * main.c - runs the suites: all, or those whose name holds the word in argv[1] or T
 *
 * =NAME instead of a word: the suite of that name alone.
 *
 * Tests that this variant leaves out (left-out.c) are listed before the first one runs, and
 * counted as inactive.
 *
 * Exit status: 0 all passed; 1 a test failed, or no suite has that word.
 */
#include "t.h"

#include <CUnit/Basic.h>

#include <signal.h>
#include <string.h>

bool t_whole;

static struct t_suite *first;

void t_register(struct t_suite *suite)
{
	struct t_suite **at = &first;

	while (*at && strcmp((*at)->name, suite->name) < 0)
		at = &(*at)->next;
	suite->next = *at;
	*at = suite;
}

static void leave_out(CU_pSuite suite)
{
	for (CU_pTest t = suite->pTest; t; t = t->pNext) {
		const char *why = t_left_out(suite->pName, t->pName);

		if (!why)
			continue;
		printf("%s leaves out: %s: %s (%s)\n", T_VARIANT, suite->pName, t->pName, why);
		CU_set_test_active(t, CU_FALSE);
	}
}

static bool is_wanted(const char *suite, const char *word)
{
	if (word && *word == '=')
		return strcmp(suite, word + 1) == 0;
	return !word || strstr(suite, word);
}

static int add(const char *word)
{
	int n = 0;

	for (struct t_suite *s = first; s; s = s->next) {
		CU_SuiteInfo info[] = {{s->name, NULL, NULL, NULL, NULL, s->tests},
				       CU_SUITE_INFO_NULL};

		if (!is_wanted(s->name, word))
			continue;
		if (CU_register_suites(info) != CUE_SUCCESS) {
			fprintf(stderr, "test-ipcmap: suite %s: %s\n", s->name,
				CU_get_error_msg());
			return -1;
		}
		leave_out(CU_get_suite(s->name));
		n++;
	}
	return n;
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : getenv("T");
	unsigned failures;
	int n;

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	if (t_left_out_is_stale(first) || CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	t_whole = !word || !*word;
	n = add(t_whole ? NULL : word);
	if (n <= 0) {
		if (n == 0)
			fprintf(stderr, "test-ipcmap: no suite has \"%s\" in its name\n", word);
		CU_cleanup_registry();
		return 1;
	}
	CU_set_fail_on_inactive(CU_FALSE);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	t_clean_up();
	return failures ? 1 : 0;
}
