/* SPDX-License-Identifier: Apache-2.0 */
/* What is left of a ceiling for libvirt's part, from what earlier moves showed. */
#include "conductor/core/hand_over.h"

#include <glib/gstdio.h>
#include <string.h>

static void test_choose(void)
{
	const int64_t some[] = { 20, 40, 28 };
	g_assert_cmpint(hand_over_choose(some, 3, 0, 1000), ==, 50);
	g_assert_cmpint(hand_over_choose(some, 3, 0, 60), ==, 45); /* something is left to ours */
	g_assert_cmpint(hand_over_choose(NULL, 0, 0, 100), ==, 40);
	g_assert_cmpint(hand_over_choose(NULL, 0, 0, 20000), ==, 100);
	g_assert_cmpint(hand_over_choose(some, 3, 1 << 20, 1000), ==, 260);
	g_assert_cmpint(hand_over_choose(some, 3, 1 << 30, 1000), ==, 50);
	const int64_t none[] = { 0 };
	g_assert_cmpint(hand_over_choose(none, 1, 0, 1000), ==, 10);
}

static void add(struct journal *journal, unsigned number, const char *source,
		const char *destination, const char *outcome, const char *numbers)
{
	char id[33], vm[] = "g1", options[] = "{}", phase[] = "perform";
	g_autofree char *from = g_strdup(source), *to = g_strdup(destination);
	g_snprintf(id, sizeof id, "%032x", number);
	const struct journal_move move = { .id = id,
					   .vm_name = vm,
					   .vm_uuid = vm,
					   .source = from,
					   .destination = to,
					   .options = options,
					   .phase = phase,
					   .pid = 1,
					   .started_s = number };
	g_assert_true(journal_begin(journal, &move, NULL));
	g_assert_true(journal_end(journal, id, outcome, numbers, NULL));
}

#define TIMES(whole, ours) \
	"{\"times\":{\"libvirt_downtime_ms\":" #whole ",\"stop_to_release_ms\":" #ours "}}"

/* Only moves between these two, only those that arrived, the newest first. */
static void test_measured(void)
{
	g_autofree char *directory = g_dir_make_tmp("watari-hand-over-XXXXXX", NULL);
	struct journal *journal = journal_open(directory, NULL);
	int64_t measured[HAND_OVER_MOVES];
	g_assert_cmpint(hand_over_measured(journal, "", "b", measured), ==, 0);
	g_assert_cmpint(hand_over_measured(NULL, "", "b", measured), ==, 0);
	add(journal, 1, "", "b", "migrated", TIMES(120, 90));
	add(journal, 2, "b", "", "migrated", TIMES(100, 80));
	add(journal, 3, "", "c", "migrated", TIMES(999, 1));
	add(journal, 4, "", "b", "failed", TIMES(999, 1));
	add(journal, 5, "", "b", "migrated", TIMES(null, 80));
	add(journal, 6, "", "b", "migrated", "[]");
	add(journal, 7, "", "b", "migrated", "no json");
	/* by clocks that were apart */
	add(journal, 8, "", "b", "migrated", TIMES(3600090, 90));
	add(journal, 9, "", "b", "migrated", TIMES(10, 90));
	add(journal, 31, "", "b", "migrated",
	    "{\"times\":{\"libvirt_downtime_ms\":900,\"stop_to_release_ms\":80,\"migration_ms\":"
	    "700}}");
	g_assert_cmpint(hand_over_measured(journal, "", "b", measured), ==, 2);
	g_assert_cmpint(measured[0], ==, 20);
	g_assert_cmpint(measured[1], ==, 30);
	for (unsigned i = 10; i < 30; i++)
		add(journal, i, "", "b", "migrated", TIMES(60, 50));
	g_assert_cmpint(hand_over_measured(journal, "", "b", measured), ==, HAND_OVER_MOVES);
	g_assert_cmpint(measured[HAND_OVER_MOVES - 1], ==, 10);
	journal_close(journal);
	static const char *const names[] = { "journal.sqlite", "journal.sqlite-wal",
					     "journal.sqlite-shm" };
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = g_build_filename(directory, names[i], NULL);
		g_unlink(path);
	}
	g_assert_cmpint(g_rmdir(directory), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/hand-over/choose", test_choose);
	g_test_add_func("/hand-over/measured", test_measured);
	return g_test_run();
}
