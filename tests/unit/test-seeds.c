/* SPDX-License-Identifier: Apache-2.0 */
/* What may be said with --seed. */
#include "conductor/disks/seeds.h"

static void test_words(void)
{
	const char *const good[] = { "/srv/a", "raw:/srv/a", "qcow2:/srv/a:/b", "/a,b", NULL };
	g_autoptr(GError) error = NULL;
	g_assert_true(seeds_check_words(good, &error));
	g_assert_no_error(error);
	/* no path; a host's own choice of format is no way out, nor is one that brings options along */
	static const char *const bad[] = { "",    "a",          "qcow2:", "qcow2:a",
					   ":/a", "raw,x=y:/a", "q 2:/a" };
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		const char *const seeds[] = { "/srv/a", bad[i], NULL };
		g_autoptr(GError) wrong = NULL;
		g_assert_false(seeds_check_words(seeds, &wrong));
		g_assert_error(wrong, WATARI_ERROR, WATARI_ERROR_USAGE);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/seeds/words", test_words);
	return g_test_run();
}
