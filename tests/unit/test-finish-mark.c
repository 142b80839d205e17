/* SPDX-License-Identifier: Apache-2.0 */
/* The mark of libvirt's Finish: it proves "never" only where that is certain. */
#include "journal/finish_mark.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <sys/resource.h>

static const char id[] = "0123456789abcdef0123456789abcdef";

static char *path_of(void)
{
	return g_strdup_printf("%s/%s.finish", g_getenv("WATARI_RUN_DIR"), id);
}

static void test_said(void)
{
	static const struct {
		enum finish_said said;
		bool never;
	} rows[] = { { FINISH_SAID, false }, { FINISH_FAILED, true }, { FINISH_NOT_SAID, true } };
	g_assert_false(finish_mark_proves_never(id));
	struct finish_mark *mark = finish_mark_new(id, NULL);
	g_assert_nonnull(mark);
	g_assert_true(finish_mark_proves_never(id));
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		finish_mark_set(mark, rows[i].said);
		g_assert_true(finish_mark_proves_never(id) == rows[i].never);
	}
	finish_mark_free(mark);
	g_assert_true(finish_mark_proves_never(id));
	g_assert_true(finish_mark_remove(id));
	g_assert_false(finish_mark_proves_never(id));
	g_assert_true(finish_mark_remove(id));
}

/* This process may write no byte more. */
static void forbid_writing(bool forbidden)
{
	struct rlimit limit;
	signal(SIGXFSZ, SIG_IGN);
	g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &limit), ==, 0);
	limit.rlim_cur = forbidden ? 0 : limit.rlim_max;
	g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
}

/* A letter that cannot be written takes the mark away, and nothing is proven. */
static void test_full(void)
{
	struct finish_mark *mark = finish_mark_new(id, NULL);
	g_assert_true(finish_mark_proves_never(id));
	forbid_writing(true);
	bool said = finish_mark_set(mark, FINISH_SAID);
	forbid_writing(false);
	g_assert_true(said);
	g_assert_false(finish_mark_proves_never(id));
	/* what is written afterwards is nowhere */
	g_assert_true(finish_mark_set(mark, FINISH_FAILED));
	g_assert_false(finish_mark_proves_never(id));
	finish_mark_free(mark);
}

/* One that stays and says something else: Finish may not be said. */
static void test_stuck(void)
{
	struct finish_mark *mark = finish_mark_new(id, NULL);
	g_autofree char *path = path_of();
	g_assert_cmpint(g_unlink(path), ==, 0);
	g_assert_cmpint(g_mkdir(path, 0700), ==,
			0); /* which unlink() does not remove, whoever we are */
	forbid_writing(true);
	bool said = finish_mark_set(mark, FINISH_SAID);
	forbid_writing(false);
	g_assert_false(said);
	g_assert_false(finish_mark_remove(id));
	g_assert_cmpint(g_rmdir(path), ==, 0);
	finish_mark_free(mark);
}

/* Where memory has no place for it, it lies beside the journal; and of two marks the worse one counts. */
static void test_beside_the_journal(void)
{
	g_autofree char *good = g_strdup(g_getenv("WATARI_RUN_DIR"));
	g_autofree char *blocked = g_build_filename(g_getenv("WATARI_STATE_DIR"), "file", NULL);
	g_assert_true(g_file_set_contents(blocked, "", 0, NULL));
	g_setenv("WATARI_RUN_DIR", blocked, TRUE);
	GError *error = NULL;
	struct finish_mark *mark = finish_mark_new(id, &error);
	g_assert_no_error(error);
	g_autofree char *path = g_strdup_printf("%s/%s.finish", g_getenv("WATARI_STATE_DIR"), id);
	g_assert_true(g_file_test(path, G_FILE_TEST_IS_REGULAR));
	g_assert_true(finish_mark_proves_never(id));
	g_setenv("WATARI_RUN_DIR", good, TRUE);
	g_assert_true(finish_mark_proves_never(id));
	g_autofree char *other = path_of();
	g_assert_cmpint(g_mkdir_with_parents(good, 0700), ==, 0);
	g_assert_true(g_file_set_contents(other, "whatever s\n", -1, NULL));
	g_assert_false(finish_mark_proves_never(id));
	g_assert_true(finish_mark_remove(id));
	g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
	g_assert_false(g_file_test(other, G_FILE_TEST_EXISTS));
	finish_mark_free(mark);
	g_assert_cmpint(g_unlink(blocked), ==, 0);
}

/* What was written just before a crash may not be on the disk: only what says more than the letter that
 * was there from the start counts. And of a file that is not ours nothing does. */
static void test_untrusted(void)
{
	static const struct {
		const char *text;
		bool never;
	} rows[] = {
		{ "00000000-0000-0000-0000-000000000000 n\n", false },
		{ "00000000-0000-0000-0000-000000000000 f\n", true },
		{ "00000000-0000-0000-0000-000000000000 s\n", false },
		{ "", false },
		{ "n", false },
		{ " n", false },
		{ " n\n", false },
		{ "- n\n", false },
		{ "n n n n n n n n n n n n n n n n n n n n n n n n n n n n n n n n n n n n n n\n",
		  false },
	};
	g_autofree char *path = path_of();
	g_assert_cmpint(g_mkdir_with_parents(g_getenv("WATARI_RUN_DIR"), 0700), ==, 0);
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_assert_true(g_file_set_contents(path, rows[i].text, -1, NULL));
		g_assert_true(finish_mark_proves_never(id) == rows[i].never);
	}
	g_assert_cmpint(g_unlink(path), ==, 0);
}

/* Where none can be made nothing is proven, and nothing else breaks. */
static void test_none(void)
{
	GError *error = NULL;
	g_autofree char *path = path_of();
	g_autofree char *beside = g_strdup_printf("%s/%s.finish", g_getenv("WATARI_STATE_DIR"), id);
	g_assert_cmpint(g_mkdir_with_parents(path, 0700), ==, 0);
	g_assert_cmpint(g_mkdir(beside, 0700), ==, 0);
	g_assert_null(finish_mark_new(id, &error));
	g_assert_nonnull(error);
	g_clear_error(&error);
	g_assert_false(finish_mark_proves_never(id));
	g_assert_true(finish_mark_set(NULL, FINISH_SAID));
	finish_mark_free(NULL);
	g_assert_cmpint(g_rmdir(path), ==, 0);
	g_assert_cmpint(g_rmdir(beside), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_autofree char *folder = g_dir_make_tmp("watari-test-XXXXXX", NULL);
	g_autofree char *run = g_build_filename(folder, "run", NULL);
	g_setenv("WATARI_STATE_DIR", folder, TRUE);
	g_setenv("WATARI_RUN_DIR", run, TRUE);
	g_test_add_func("/finish-mark/said", test_said);
	g_test_add_func("/finish-mark/full", test_full);
	g_test_add_func("/finish-mark/stuck", test_stuck);
	g_test_add_func("/finish-mark/beside-the-journal", test_beside_the_journal);
	g_test_add_func("/finish-mark/untrusted", test_untrusted);
	g_test_add_func("/finish-mark/none", test_none);
	int status = g_test_run();
	g_rmdir(run);
	g_rmdir(folder);
	return status;
}
