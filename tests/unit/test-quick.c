/* SPDX-License-Identifier: Apache-2.0 */
/* When is it clear that --max-stop will be missed? Stops are played, without libvirt. */
#include "conductor/quick/quick_limit.h"

#include <glib.h>

#define MIB (1ULL << 20)

struct play {
	struct quick_limit limit;
	int64_t now_us;
	uint64_t remaining;
	bool missed;
};

static void begin(struct play *play, uint64_t remaining, int64_t limit_ms)
{
	*play = (struct play){ .now_us = 5000000, .remaining = remaining };
	quick_limit_init(&play->limit, play->now_us, limit_ms);
}

/* For SECONDS at RATE bytes a second, ten looks a second; until it is missed. */
static void go(struct play *play, double seconds, uint64_t rate)
{
	for (int look = 0; look < (int) (seconds * 10) && !play->missed; look++) {
		play->now_us += 100000;
		play->remaining -= MIN(rate / 10, play->remaining);
		play->missed = quick_limit_look(&play->limit, play->now_us, play->remaining);
	}
}

static void test_fits(void)
{
	struct play play;
	begin(&play, 900 * MIB, 10000);
	go(&play, 9, 100 * MIB);
	g_assert_cmpint(play.remaining, ==, 0);
	g_assert_false(play.missed);
}

static void test_missed(void)
{
	struct play play;
	begin(&play, 2000 * MIB, 10000);
	go(&play, 10, 100 * MIB);
	g_assert_true(play.missed);
	int64_t stood_ms = (play.now_us - play.limit.stopped_us) / 1000;
	g_assert_cmpint(stood_ms, >=, QUICK_SETTLE_MS);
	g_assert_cmpint(stood_ms, <, 2000);
	g_assert_cmpint(play.limit.needed_ms, >, 19000);
	g_assert_cmpint(play.limit.needed_ms, <, 21000);
}

/* A slow stretch after a fast one: the whole may still fit. And the other way round. */
static void test_the_better_rate_counts(void)
{
	struct play play;
	begin(&play, 1300 * MIB, 10000);
	go(&play, 1.5, 300 * MIB);
	go(&play, 1.5, 10 * MIB);
	g_assert_false(play.missed);
	go(&play, 2, 500 * MIB);
	g_assert_false(play.missed);
	g_assert_cmpint(play.remaining, ==, 0);
	begin(&play, 1300 * MIB, 10000);
	go(&play, 0.6, 50 * MIB);
	go(&play, 7, 200 * MIB);
	g_assert_false(play.missed);
}

static void test_stalls_for_a_moment(void)
{
	struct play play;
	begin(&play, 800 * MIB, 10000);
	go(&play, 3, 100 * MIB);
	go(&play, 0.5, 0);
	go(&play, 6, 110 * MIB);
	g_assert_false(play.missed);
	g_assert_cmpint(play.remaining, ==, 0);
}

/* The link is cut and comes back: the time is lost, the rate is not. */
static void test_silent_for_a_while(void)
{
	struct play play;
	begin(&play, 1000 * MIB, 30000);
	go(&play, 1, 50 * MIB);
	go(&play, 8, 0);
	g_assert_false(play.missed);
	go(&play, 19, 50 * MIB);
	g_assert_false(play.missed);
	g_assert_cmpint(play.remaining, ==, 0);
}

/* In the very beginning no rate is known that could be kept. */
static void test_silent_at_first(void)
{
	struct play play;
	begin(&play, 700 * MIB, 60000);
	go(&play, 0.3, 1 * MIB);
	go(&play, 7, 0);
	g_assert_false(play.missed);
	go(&play, 1, 1 * MIB);
	go(&play, 30, 30 * MIB);
	g_assert_false(play.missed);
	g_assert_cmpint(play.remaining, ==, 0);
}

/* One that does not come back is given up when the rest has no room any more, not at the very end. */
static void test_silent_for_too_long(void)
{
	struct play play;
	begin(&play, 1000 * MIB, 30000);
	go(&play, 4, 50 * MIB);
	go(&play, 30, 0);
	g_assert_true(play.missed);
	int64_t stood_ms = (play.now_us - play.limit.stopped_us) / 1000;
	g_assert_cmpint(stood_ms, >, 13000);
	g_assert_cmpint(stood_ms, <, 15000);
}

static void test_without_a_limit(void)
{
	struct play play;
	begin(&play, 2000 * MIB, 0);
	go(&play, 20, 10 * MIB);
	g_assert_false(play.missed);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/quick/fits", test_fits);
	g_test_add_func("/quick/missed", test_missed);
	g_test_add_func("/quick/the-better-rate-counts", test_the_better_rate_counts);
	g_test_add_func("/quick/stalls-for-a-moment", test_stalls_for_a_moment);
	g_test_add_func("/quick/silent-for-a-while", test_silent_for_a_while);
	g_test_add_func("/quick/silent-at-first", test_silent_at_first);
	g_test_add_func("/quick/silent-for-too-long", test_silent_for_too_long);
	g_test_add_func("/quick/without-a-limit", test_without_a_limit);
	return g_test_run();
}
