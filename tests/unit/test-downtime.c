/* SPDX-License-Identifier: Apache-2.0 */
/* The standstill as libvirt says it, between hosts whose clocks differ. Each row stood still for
 * 60 ms, 50 of them until the release, and 3 ms of it were the way of the order. */
#include "conductor/live/downtime.h"

#include <glib.h>

static const struct {
	const char *name;
	struct downtime_sight sight;
	int64_t chosen;
} rows[] = {
	{ "equal-clocks", { 60, 57, true, 0, 50, 400, 1 }, 60 },
	{ "an-hour-ahead", { 3600060, 57, true, 3600000, 50, 400, 1 }, 60 },
	{ "an-hour-ahead-not-asked", { 3600060, 57, false, 0, 50, 400, 1 }, 57 },
	{ "an-hour-behind", { -1, -1, true, -3600000, 50, 400, 1 }, -1 },
	{ "80-ms-ahead", { 140, 57, true, 80, 50, 400, 1 }, 60 },
	{ "80-ms-ahead-not-asked", { 140, 57, false, 0, 50, 400, 1 }, 57 },
	{ "40-ms-behind", { 20, -1, true, -40, 50, 400, 1 }, 60 },
	{ "40-ms-behind-not-asked", { 20, -1, false, 0, 50, 400, 1 }, -1 },
	/* set between the question and the move: what remains is a bound, or nothing */
	{ "stepped-ahead", { 3600060, 57, true, 0, 50, 400, 1 }, 57 },
	{ "stepped-back", { 20, -1, true, 0, 50, 400, 1 }, -1 },
	{ "stepped-back-far", { 60, -1, true, 3600000, 50, 400, 1 }, -1 },
	{ "longer-than-the-move", { 900, 800, true, 0, 50, 400, 1 }, -1 },
	{ "shorter-than-the-net", { 57, 80, true, 0, 50, 400, 1 }, 80 },
	{ "nothing-said", { -1, -1, true, 0, 50, 400, 1 }, -1 },
	{ "nothing-seen", { 60, 57, true, 0, -1, 400, 1 }, 60 },
};

static void test_row(gconstpointer data)
{
	size_t which = GPOINTER_TO_SIZE(data);
	g_assert_cmpint(downtime_choose(&rows[which].sight), ==, rows[which].chosen);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *path = g_strdup_printf("/downtime/%s", rows[i].name);
		g_test_add_data_func(path, GSIZE_TO_POINTER(i), test_row);
	}
	return g_test_run();
}
