/* SPDX-License-Identifier: MIT */
/*
 * t-error.c - the table of errors: each has its number, its name, a message of its own
 */
#include "kit.h"

#include "error.h"

/* As ipcmap.h documents them; a new error is added here on purpose. */
static const struct {
	int err;
	int number;
	const char *name;
} documented[] = {
	{IPCMAP_NOTFOUND, ENOENT, "IPCMAP_NOTFOUND"},
	{IPCMAP_EXISTS, EEXIST, "IPCMAP_EXISTS"},
	{IPCMAP_MISMATCH, ESTALE, "IPCMAP_MISMATCH"},
	{IPCMAP_SHORT, ENOBUFS, "IPCMAP_SHORT"},
	{IPCMAP_LIMIT, EDQUOT, "IPCMAP_LIMIT"},
	{IPCMAP_FULL, ENOSPC, "IPCMAP_FULL"},
	{IPCMAP_TOOBIG, EMSGSIZE, "IPCMAP_TOOBIG"},
	{IPCMAP_INVALID, EINVAL, "IPCMAP_INVALID"},
	{IPCMAP_READONLY, EROFS, "IPCMAP_READONLY"},
	{IPCMAP_NOTMAP, EBADF, "IPCMAP_NOTMAP"},
	{IPCMAP_VERSION, EPROTONOSUPPORT, "IPCMAP_VERSION"},
	{IPCMAP_CREATING, EAGAIN, "IPCMAP_CREATING"},
	{IPCMAP_PERM, EACCES, "IPCMAP_PERM"},
	{IPCMAP_NOMEM, ENOMEM, "IPCMAP_NOMEM"},
	{IPCMAP_OWNERS, EUSERS, "IPCMAP_OWNERS"},
	{IPCMAP_TYPE, EPROTOTYPE, "IPCMAP_TYPE"},
	{IPCMAP_RANGE, ERANGE, "IPCMAP_RANGE"},
	{IPCMAP_BUSY, EBUSY, "IPCMAP_BUSY"},
	{IPCMAP_DEADLOCK, EDEADLK, "IPCMAP_DEADLOCK"},
	{IPCMAP_INTERRUPTED, EINTR, "IPCMAP_INTERRUPTED"},
	{IPCMAP_GAP, EOVERFLOW, "IPCMAP_GAP"},
	{IPCMAP_MOVED, EREMCHG, "IPCMAP_MOVED"},
	{IPCMAP_CORRUPT, EUCLEAN, "IPCMAP_CORRUPT"},
};

static void error__each_has_its_number_and_name(void)
{
	CU_ASSERT(im_n_errors == ARRAY_LEN(documented));
	for (unsigned i = 0; i < ARRAY_LEN(documented); i++) {
		CU_ASSERT(documented[i].err == -documented[i].number);
		CU_ASSERT(strcmp(ipcmap_errname(documented[i].err), documented[i].name) == 0);
	}
	for (unsigned i = 0; i < im_n_errors; i++)
		CU_ASSERT(strcmp(ipcmap_errname(im_errors[i].err), im_errors[i].name) == 0);
}

static void error__messages_are_single_lines_and_differ(void)
{
	for (unsigned i = 0; i < im_n_errors; i++) {
		const char *text = ipcmap_strerror(im_errors[i].err);

		CU_ASSERT(text[0] != '\0' && !strchr(text, '\n') && strlen(text) < 100);
		CU_ASSERT(strcmp(text, im_errors[i].text) == 0);
		for (unsigned k = 0; k < i; k++) {
			CU_ASSERT(im_errors[i].err != im_errors[k].err);
			CU_ASSERT(strcmp(text, im_errors[k].text) != 0);
		}
	}
}

static void error__other_numbers_have_a_message_and_no_name(void)
{
	CU_ASSERT(strcmp(ipcmap_strerror(0), "no error") == 0);
	CU_ASSERT(strcmp(ipcmap_strerror(1), "no error") == 0);
	CU_ASSERT(strlen(ipcmap_strerror(-EIO)) > 0 && strcmp(ipcmap_errname(-EIO), "") == 0);
	CU_ASSERT(strlen(ipcmap_strerror(-99999)) > 0);
	CU_ASSERT(strlen(ipcmap_strerror(INT32_MIN)) > 0);
	CU_ASSERT(strcmp(ipcmap_errname(0), "") == 0 && strcmp(ipcmap_errname(7), "") == 0);
}

static CU_TestInfo tests[] = {
	{"each error has its number and name", error__each_has_its_number_and_name},
	{"messages are single lines and differ", error__messages_are_single_lines_and_differ},
	{"other numbers have a message and no name",
	 error__other_numbers_have_a_message_and_no_name},
	CU_TEST_INFO_NULL,
};
T_SUITE("error", tests)
