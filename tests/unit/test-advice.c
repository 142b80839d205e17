/* SPDX-License-Identifier: Apache-2.0 */
/* An error without a next step gets one, and no other is touched. */
#include "conductor/core/advice.h"

#include "base/error.h"

#include <glib.h>
#include <string.h>

#define ADVICE "Do it."

static void expect_given(enum watari_error code, const char *next, const char *expected)
{
	GError *error = NULL;
	error_set(&error, code, next, "it broke");
	advice_give(&error, ADVICE);
	g_autofree char *what = error_what(error), *given = error_next(error);
	g_assert_cmpstr(what, ==, "it broke");
	g_assert_cmpint(error->code, ==, (int) code);
	if (expected)
		g_assert_nonnull(given);
	if (given || expected)
		g_assert_nonnull(strstr(given, expected));
	g_error_free(error);
}

static void test_give(void)
{
	GError *none = NULL;
	advice_give(&none, ADVICE);
	g_assert_no_error(none);
	expect_given(WATARI_ERROR_REFUSED, NULL, ADVICE);
	expect_given(WATARI_ERROR_FAILED, NULL, ADVICE);
	expect_given(WATARI_ERROR_FAILED, "Look there.", "Look there.");
	expect_given(WATARI_ERROR_CANCELLED, NULL, NULL);
	/* where the VM is comes first */
	expect_given(WATARI_ERROR_ATTENTION, NULL, "watari resolve");
	expect_given(WATARI_ERROR_INTERNAL, NULL, "watari resolve");
}

static void expect_found(struct move *move, const char *expected)
{
	g_autofree char *advice = advice_find(move);
	g_assert_nonnull(strstr(advice, expected));
}

/* That the other mover ended says less than why it did; the first real reason counts. */
static void test_codes(void)
{
	struct move move = { 0 };
	char reason[] = "the other mover ended";
	expect_found(&move, "/var/log/libvirt/qemu");
	advice_take_code(&move, "peer");
	expect_found(&move, "/var/log/libvirt/qemu");
	move.mover_reason = reason;
	advice_take_code(&move, "link");
	expect_found(&move, "--link-timeout");
	advice_take_code(&move, "disk");
	expect_found(&move, "--link-timeout");
	g_clear_pointer(&move.refuse_code, g_free);
	/* a mover that was killed: what the other one says of it is no reason */
	advice_take_code(&move, "local");
	g_assert_null(move.refuse_code);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/advice/give", test_give);
	g_test_add_func("/advice/codes", test_codes);
	return g_test_run();
}
