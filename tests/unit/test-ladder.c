/* SPDX-License-Identifier: Apache-2.0 */
/* What is done when the rounds get no smaller, against a model of pre-copy. */
#include "precopy.h"

#include <glib.h>

/* 256 MB at 50 MB/s; the working set is the whole memory, so that every round is long. */
static const struct model slow = { .dirty_rate = 0,
				   .set = 256e6,
				   .memory = 256e6,
				   .drain = 50e6,
				   .sync_ms = 3,
				   .ceiling_ms = 100,
				   .reserve_ms = 25,
				   .poll_ms = 100 };

static struct model dirtied_at(double times_the_link)
{
	struct model model = slow;
	model.dirty_rate = slow.drain * times_the_link;
	return model;
}

/* Twice as fast as the link: known at the beginning of the third round, with the right numbers. */
static void test_twice_the_link(void)
{
	static const int polls[] = { 50, 70, 100, 130 };
	for (size_t i = 0; i < G_N_ELEMENTS(polls); i++) {
		struct model model = dirtied_at(2);
		model.poll_ms = polls[i];
		precopy_run(&model, 300);
		g_assert_cmpint(model.step, ==, LADDER_STOP);
		g_assert_cmpint(model.decided_in, <=, 3);
		g_assert_cmpint(model.iterations, <=, 3);
		const struct ladder_decision *last = &model.last_decision;
		g_assert_cmpfloat(last->dirty_rate, >, 1.6 * slow.drain);
		g_assert_cmpfloat(last->dirty_rate, <, 2.4 * slow.drain);
		g_assert_cmpfloat(last->predicted_ms, >, 2 * last->room_ms);
		/* what it says would do, does */
		struct model better = dirtied_at(2);
		better.ceiling_ms = last->needed_downtime_ms;
		precopy_run(&better, 300);
		g_assert_true(better.stopped);
		better = dirtied_at(2);
		better.drain = last->needed_rate;
		precopy_run(&better, 300);
		g_assert_true(better.stopped);
		g_assert_cmpint(last->needed_slowdown, >=, 50);
	}
}

/* Most of the second round is cheap, and its end comes between two looks: it must not be taken for the size of
 * the third one. A quarter of the link. */
static void test_cheap_end(void)
{
	static const int polls[] = { 25, 50, 100, 200 };
	for (size_t i = 0; i < G_N_ELEMENTS(polls); i++) {
		struct model model = slow;
		model.drain = 6e6;
		model.dirty_rate = 1.5e6;
		model.set = 48e6;
		model.same = 20e6;
		model.ceiling_ms = 1500;
		model.poll_ms = polls[i];
		precopy_run(&model, 300);
		g_assert_true(model.stopped);
		g_assert_false(model.hopeless);
	}
}

/* Post-copy instead, where it is allowed; and at once, where it is wanted. */
static void test_postcopy(void)
{
	struct model model = dirtied_at(2);
	model.rules.postcopy = true;
	precopy_run(&model, 300);
	g_assert_cmpint(model.step, ==, LADDER_POSTCOPY);
	g_assert_cmpint(model.decided_in, ==, 3);
	model = dirtied_at(0.5);
	model.rules.postcopy = model.rules.postcopy_first = true;
	precopy_run(&model, 300);
	g_assert_cmpint(model.step, ==, LADDER_POSTCOPY);
	g_assert_cmpint(model.decided_in, ==, 2);
}

/* 1.3 times the link, and a VM that may be slowed down by 40 %: it arrives live, within the ceiling, and
 * is never slowed down by more. */
static void test_throttle(void)
{
	static const int polls[] = { 50, 100, 130 };
	for (size_t i = 0; i < G_N_ELEMENTS(polls); i++) {
		struct model model = dirtied_at(1.3);
		model.poll_ms = polls[i];
		model.rules.max_slowdown = 40;
		model.ceiling_ms = 200; /* 30 ms of it are always in flight */
		precopy_run(&model, 600);
		g_assert_true(model.stopped);
		g_assert_cmpfloat(precopy_stop_ms(&model), <, 150);
		g_assert_cmpint(model.most_throttle, >, 0);
		g_assert_cmpint(model.most_throttle, <=, 40);
	}
}

/* What is permitted does not do: half, all of it, and then the end. */
static void test_throttle_is_not_enough(void)
{
	struct model model = dirtied_at(3);
	model.rules.max_slowdown = 40;
	precopy_run(&model, 600);
	g_assert_cmpint(model.step, ==, LADDER_STOP);
	g_assert_cmpint(model.most_throttle, ==, 40);
	g_assert_cmpint(model.last_decision.slowdown, ==, 40);
	g_assert_cmpint(model.iterations, <, 16);
	g_assert_cmpint(model.last_decision.needed_slowdown, >, 50);
}

/* Nobody is slowed down, and nothing given up, who comes to an end by himself. */
static void test_patience(void)
{
	static const double times[] = { 0.05, 0.3, 0.6, 0.9 };
	for (size_t i = 0; i < G_N_ELEMENTS(times); i++) {
		struct model model = dirtied_at(times[i]);
		precopy_run(&model, 900);
		g_assert_true(model.stopped);
		g_assert_cmpint(model.step, ==, LADDER_WAIT);
		g_assert_cmpfloat(precopy_stop_ms(&model), <, 75);
	}
}

/* With the permission at hand it may be used a round too early, but not for a VM that is far from the
 * link's rate. */
static void test_permission_is_not_abused(void)
{
	struct model model = dirtied_at(0.3);
	model.rules.max_slowdown = 40;
	precopy_run(&model, 900);
	g_assert_true(model.stopped);
	g_assert_cmpint(model.most_throttle, <=, 1);
}

/* A small working set that is dirty again at once: a plateau, but one that fits. */
static void test_small_plateau(void)
{
	struct model model = dirtied_at(8);
	model.set = 2e6; /* 40 ms */
	model.ceiling_ms = 300;
	precopy_run(&model, 300);
	g_assert_true(model.stopped);
	g_assert_cmpint(model.step, ==, LADDER_WAIT);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ladder/twice-the-link", test_twice_the_link);
	g_test_add_func("/ladder/cheap-end", test_cheap_end);
	g_test_add_func("/ladder/postcopy", test_postcopy);
	g_test_add_func("/ladder/throttle", test_throttle);
	g_test_add_func("/ladder/throttle-is-not-enough", test_throttle_is_not_enough);
	g_test_add_func("/ladder/patience", test_patience);
	g_test_add_func("/ladder/permission-is-not-abused", test_permission_is_not_abused);
	g_test_add_func("/ladder/small-plateau", test_small_plateau);
	return g_test_run();
}
