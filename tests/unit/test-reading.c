/* SPDX-License-Identifier: Apache-2.0 */
/* When references to disks pay. */
#include "content/reading.h"

#include <glib.h>

static void test_pays(void)
{
	struct reading reading = { 0 };
	g_assert_true(reading_pays(&reading, 0));
	reading_note(&reading, 5000, 15000, 100, 0); /* 3 us a page, sending takes 100 */
	g_assert_true(reading_pays(&reading, 1));
	reading_note(&reading, 5100, 500000, 100, 2); /* too few pages to say anything */
	g_assert_true(reading_pays(&reading, 3));
	reading_note(&reading, 5200, 900000, 100, 4); /* but that is long for 200 pages */
	g_assert_false(reading_pays(&reading, 5));
	g_assert_false(reading_pays(&reading, READING_PAUSE_US + 3));
	g_assert_true(reading_pays(&reading, READING_PAUSE_US + 4));
	reading_note(&reading, 10000, 950000, 100,
		     READING_PAUSE_US + 5); /* the disk has recovered */
	g_assert_true(reading_pays(&reading, READING_PAUSE_US + 6));
}

/* On a link without limit a page from the page cache still pays, one from a slow disk does not. */
static void test_fast_link(void)
{
	struct reading reading = { 0 };
	reading_note(&reading, 5000, 100000, 0, 0);
	g_assert_true(reading_pays(&reading, 0));
	reading_note(&reading, 10000, 1000000, 0, 0); /* 180 us each */
	g_assert_false(reading_pays(&reading, 0));
}

static void test_nonsense(void)
{
	struct reading reading = { 0 };
	reading_note(&reading, 5000, 1000, 10, 0);
	reading_note(&reading, 10, 1000000, 10, 0); /* backwards: not believed */
	reading_note(&reading, 100000, 10, 10, 0);
	g_assert_true(reading_pays(&reading, 0));
	g_assert_cmpuint(reading.pages, ==, 5000);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/reading/pays", test_pays);
	g_test_add_func("/reading/fast-link", test_fast_link);
	g_test_add_func("/reading/nonsense", test_nonsense);
	return g_test_run();
}
