/* SPDX-License-Identifier: Apache-2.0 */
/* The decision on QEMU's downtime limit, against a model of pre-copy. */
#include "conductor/convergence/disk_trend.h"
#include "conductor/convergence/downtime_limit.h"
#include "precopy.h"

#include <glib.h>

static const struct model gigabit = { .dirty_rate = 0.2e6,
				      .set = 64e6,
				      .memory = 256e6,
				      .drain = 115e6,
				      .sync_ms = 3,
				      .ceiling_ms = 2000,
				      .poll_ms = 100 };

/* Nobody raises anything for a VM that hardly changes its memory. */
static void test_idle(void)
{
	struct model model = gigabit;
	precopy_run(&model, 60);
	g_assert_true(model.stopped);
	g_assert_cmpfloat(model.stop_s, <, 256.0 / 115 + 0.3);
	g_assert_cmpfloat(precopy_stop_ms(&model), <=, RULE_EASY_MS);
	g_assert_cmpfloat(model.most_limit_ms, <=, RULE_EASY_MS);
}

/* 100 Mbit/s: 1 ms is three pages there, so it takes the easy limit. */
static void test_slow_link(void)
{
	struct model model = gigabit;
	model.drain = 11.5e6;
	model.dirty_rate = 2e6;
	precopy_run(&model, 120);
	g_assert_true(model.stopped);
	g_assert_cmpfloat(model.stop_s, <, 256.0 / 11.5 + 8);
	g_assert_cmpfloat(precopy_stop_ms(&model), <, 20);
}

/* Rounds that do not get smaller although the link is faster than the guest: the plateau is found,
 * whatever the moments of the polls, and QEMU leaves no more than it. */
static void test_plateau(void)
{
	static const int polls[] = { 50, 70, 100, 130, 300 };
	for (size_t i = 0; i < G_N_ELEMENTS(polls); i++) {
		struct model model = gigabit;
		model.dirty_rate = 400e6; /* the working set is dirty again in 0.1 s */
		model.set = 12e6;
		model.poll_ms = polls[i];
		precopy_run(&model, 60);
		g_assert_true(model.stopped);
		g_assert_cmpfloat(precopy_stop_ms(&model), <, 12.0 / 115 * 1e3 * 1.05);
		g_assert_cmpfloat(model.stop_s, <, 256.0 / 115 + 5);
		g_assert_cmpfloat(model.last_change.predicted_ms, <, 250);
	}
}

/* It changes more than the link carries; what remains would take more than the ceiling leaves. */
static void test_hopeless(void)
{
	struct model model = gigabit;
	model.dirty_rate = 400e6;
	model.set = 64e6;
	model.ceiling_ms = 300;
	precopy_run(&model, 300);
	g_assert_false(model.stopped);
	g_assert_true(model.hopeless);
	g_assert_cmpfloat(model.most_limit_ms, <=, 180);
	/* a few short rounds say it */
	g_assert_cmpint(model.decided_in, <=, 12);
	g_assert_cmpfloat(model.decided_s, <, 10);
}

/* The same guest within a ceiling that has room for it: 0.56 s of 2 s. */
static void test_ceiling_allows(void)
{
	struct model model = gigabit;
	model.dirty_rate = 400e6;
	model.set = 64e6;
	precopy_run(&model, 300);
	g_assert_true(model.stopped);
	g_assert_cmpfloat(model.stop_s, <, 30);
	g_assert_cmpfloat(precopy_stop_ms(&model), <, 600);
	g_assert_cmpfloat(model.most_limit_ms, <=, 1200);
	g_assert_cmpint(model.last_change.reason, <, LIMIT_REASON_LAST);
}

/* A burst in which the rounds grow is no reason to stop in it. */
static void test_burst(void)
{
	struct model model = gigabit;
	model.dirty_rate = 30e6;
	model.set = 200e6;
	model.burst_rate = 300e6;
	model.burst_from_s = 2.0;
	model.burst_until_s = 5.0;
	precopy_run(&model, 60);
	g_assert_true(model.stopped);
	g_assert_cmpfloat(model.stop_s, >, model.burst_until_s);
	g_assert_cmpfloat(precopy_stop_ms(&model), <, 10);
}

/* The first pass is taken at 2 GB/s, dirty pages at 12 MB/s. */
static struct model cheap_first_pass(void)
{
	struct model model = gigabit;
	model.memory = 2e9;
	model.cheap = 2e9;
	model.drain = 11.5e6;
	model.dirty_rate = 3e6;
	return model;
}

/* What QEMU believes of its bandwidth must
 * not let it stop with more than a moment's worth of dirty pages. */
static void test_cheap_first_pass(void)
{
	struct model model = cheap_first_pass();
	precopy_run(&model, 60);
	g_assert_true(model.stopped);
	g_assert_cmpfloat(precopy_stop_ms(&model), <, 200);
	g_assert_cmpfloat(model.most_limit_ms, <=, 20);
}

/* Pages of the first pass that were written before they were sent are the same again at the end of the second
 * round: QEMU measures them at 2 GB/s, and its limit times that is no limit. */
static void test_cheap_end(void)
{
	static const int polls[] = { 25, 50, 70, 100 };
	for (size_t i = 0; i < G_N_ELEMENTS(polls); i++) {
		struct model model = gigabit;
		model.drain = 11.5e6;
		model.dirty_rate = 5e6;
		model.set = 48e6;
		model.same = 25e6;
		model.easy_ms = 100;
		model.poll_ms = polls[i];
		precopy_run(&model, 120);
		g_assert_true(model.stopped);
		g_assert_cmpfloat(precopy_stop_ms(&model), <, 130);
	}
}

/* A first look at a link that carries RATE. */
static struct limit_sample first_look(int iteration, double rate)
{
	return (struct limit_sample){ .iteration = iteration,
				      .remaining = 10e6,
				      .sent = 100e6,
				      .whole = 100e6,
				      .wire_rate = rate,
				      .carried = rate,
				      .link_rate = rate,
				      .qemu_rate = rate };
}

/* The second round begins with pages that cost nothing: what they went through at is not what the others will. */
static void test_first_look(void)
{
	struct limit limit;
	struct limit_change change;
	struct limit_sample sample = first_look(1, 21e6);
	sample.qemu_rate = 137e6;
	limit_init(&limit, 3000, 100, 100);
	g_assert_false(limit_look(&limit, &sample, &change));
	sample.at_us = 50000;
	sample.iteration = 2;
	sample.sent += 10e6;
	sample.remaining = 14e6;
	limit_look(&limit, &sample, &change);
	sample.at_us = 100000;
	sample.sent += 6e6;
	sample.whole += 6e6;
	sample.remaining = 8e6;
	sample.carried = 93e6;
	sample.qemu_rate = 93e6;
	g_assert_true(limit_look(&limit, &sample, &change));
	g_assert_cmpuint(change.bytes, <, 6000000);
}

/* QEMU's window may have begun before a look: what went through until then counts as well. */
static void test_window_before_the_look(void)
{
	struct limit limit;
	struct limit_change change = { 0 };
	struct limit_sample sample = first_look(2, 6e6);
	limit_init(&limit, 3000, 100, 100);
	limit_look(&limit, &sample, &change);
	sample.at_us = 100000;
	sample.sent += 9e6;
	sample.whole += 9e6;
	sample.remaining = 1e6;
	limit_look(&limit, &sample, &change);
	g_assert_cmpfloat((double) limit.limit_ms / 1e3 * 100e6, <=, 0.7e6);
}

/* Where few rounds are wanted, more may be left, but never more than the link carries in that time. */
static void test_few_rounds(void)
{
	struct model model = cheap_first_pass();
	precopy_run(&model, 60);
	int usual = model.iterations;
	model.easy_ms = 100;
	precopy_run(&model, 60);
	g_assert_true(model.stopped);
	g_assert_cmpint(model.iterations, <, usual);
	g_assert_cmpfloat(precopy_stop_ms(&model), <, 110);
}

/* A ceiling so low that what is in flight does not fit: nothing is raised beyond it. */
static void test_low_ceiling(void)
{
	struct model model = gigabit;
	model.dirty_rate = 60e6;
	model.ceiling_ms = 20;
	precopy_run(&model, 120);
	g_assert_cmpfloat(model.most_limit_ms, <=, 12);
	g_assert_true(model.stopped || model.hopeless);
}

/* The end of a round on a slow link: what is left fits, so QEMU gets a limit that is far too much for the
 * next round. Where the switch to post-copy is on its way no stop is wanted at all. */
static void test_held(void)
{
	for (int held = 0; held < 2; held++) {
		struct limit limit;
		struct limit_change change;
		struct limit_sample sample = { .at_us = 1000000,
					       .iteration = 1,
					       .remaining = 40000,
					       .sent = 8000000,
					       .qemu_rate = 60e3,
					       .wire_rate = 10e6 };
		limit_init(&limit, 1000, 100, RULE_EASY_MS);
		limit.held = held;
		g_assert_false(limit_look(&limit, &sample, &change));
		sample.at_us += 100000;
		sample.sent += 6000;
		sample.iteration = 2;
		sample.remaining = 20000;
		g_assert_cmpint(limit_look(&limit, &sample, &change), ==, !held);
		g_assert_cmpint(limit.limit_ms > LIMIT_LEAST_MS, ==, !held);
	}
}

/* Nothing known is no reason to divide by it. */
static void test_nothing_known(void)
{
	struct limit limit;
	struct limit_change change;
	limit_init(&limit, 2000, 100, RULE_EASY_MS);
	for (int i = 0; i < 100; i++) {
		struct limit_sample sample = { .at_us = i * 1000, .iteration = i };
		g_assert_false(limit_look(&limit, &sample, &change));
	}
	g_assert_cmpint(limit.limit_ms, ==, LIMIT_LEAST_MS);
}

/* Copying disks: patience while what remains gets less, none when only as much is done as comes. */
static void test_disk_trend(void)
{
	struct disk_trend trend = { 0 };
	const int64_t second = 1000000;
	for (int i = 1; i <= 300; i++) /* slow, but it gets there */
		g_assert_false(disk_trend_is_hopeless(&trend, (uint64_t) (40000 - 100 * i) << 10,
						      i * second, 60000));
	trend = (struct disk_trend){ 0 };
	bool hopeless = false;
	int at = 0;
	for (at = 1; at <= 300 && !hopeless; at++) /* it swings, and gets no less */
		hopeless = disk_trend_is_hopeless(&trend, (uint64_t) (10000 + 500 * (at % 3)) << 10,
						  at * second, 60000);
	g_assert_cmpint(at, >=, 60);
	g_assert_cmpint(at, <=, 70);
	g_assert_false(disk_trend_is_hopeless(&trend, 0, 400 * second, 60000));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/limit/idle", test_idle);
	g_test_add_func("/limit/slow-link", test_slow_link);
	g_test_add_func("/limit/plateau", test_plateau);
	g_test_add_func("/limit/hopeless", test_hopeless);
	g_test_add_func("/limit/ceiling-allows", test_ceiling_allows);
	g_test_add_func("/limit/burst", test_burst);
	g_test_add_func("/limit/cheap-first-pass", test_cheap_first_pass);
	g_test_add_func("/limit/cheap-end", test_cheap_end);
	g_test_add_func("/limit/first-look", test_first_look);
	g_test_add_func("/limit/window-before-the-look", test_window_before_the_look);
	g_test_add_func("/limit/few-rounds", test_few_rounds);
	g_test_add_func("/limit/low-ceiling", test_low_ceiling);
	g_test_add_func("/limit/held", test_held);
	g_test_add_func("/limit/nothing-known", test_nothing_known);
	g_test_add_func("/limit/disk-trend", test_disk_trend);
	return g_test_run();
}
