/* SPDX-License-Identifier: Apache-2.0 */
/* The decision on QEMU's downtime limit, against a model of pre-copy: QEMU's rounds, its measured
 * bandwidth and its rule for the stop, a link, and guests that change their memory. The decision sees
 * only what a poller would see, at moments that have nothing to do with the rounds. */
#include "journey/disk_trend.h"
#include "journey/limit.h"

#include <glib.h>
#include <math.h>

enum { TICK_US = 1000, BANDWIDTH_US = 100000, WINDOW_MS = 30 };

struct model {
	/* the guest: distinct dirty bytes grow towards the working set */
	double dirty_rate, set;
	double burst_rate; /* instead, between these times */
	double burst_from_s, burst_until_s;
	/* first pass: so much is sent at once (zero runs, references), the rest by the link */
	double memory, cheap;
	double drain; /* bytes a second */
	int sync_ms;  /* each dirty sync takes so long */
	int64_t ceiling_ms;
	int poll_ms;
	/* the result */
	double stop_s, stop_bytes, most_limit_ms;
	int iterations, changes;
	bool stopped, hopeless;
	struct limit_change last_change;
};

struct state {
	int64_t now_us, sync_until_us, bandwidth_from_us;
	double remaining, dirty, sent, bandwidth_sent, bandwidth;
	int iteration;
	int64_t limit_ms;
};

static void dirty_memory(const struct model *model, struct state *state)
{
	double now_s = (double) state->now_us / 1e6;
	bool burst = now_s >= model->burst_from_s && now_s < model->burst_until_s;
	double rate = burst ? model->burst_rate : model->dirty_rate;
	double free_share = fmax(0, 1 - state->dirty / model->set);
	state->dirty += rate * free_share * TICK_US / 1e6;
}

static void send_pages(const struct model *model, struct state *state)
{
	bool cheap = state->iteration == 1 && state->sent < model->cheap;
	double rate = cheap ? 2e9 : model->drain;
	double bytes = fmin(state->remaining, rate * TICK_US / 1e6);
	state->remaining -= bytes;
	state->sent += bytes;
	state->bandwidth_sent += bytes;
	if (state->now_us - state->bandwidth_from_us < BANDWIDTH_US)
		return;
	state->bandwidth =
		state->bandwidth_sent * 1e6 / (double) (state->now_us - state->bandwidth_from_us);
	state->bandwidth_sent = 0;
	state->bandwidth_from_us = state->now_us;
}

/* QEMU: below the threshold it looks again at what is dirty, and stops if it is still below. */
static bool qemu_stops(struct model *model, struct state *state)
{
	double threshold = state->bandwidth * (double) state->limit_ms / 1e3;
	if (state->remaining > 0 && state->remaining >= threshold)
		return false;
	/* a page that waits to be sent and is changed again is still one page */
	double apart = state->iteration > 1 ? fmax(0, 1 - state->remaining / model->set) : 1;
	state->remaining += state->dirty * apart;
	state->dirty = 0;
	state->iteration++;
	state->sync_until_us = state->now_us + model->sync_ms * 1000;
	return state->remaining == 0 || state->remaining < threshold;
}

static void poll_it(struct model *model, struct limit *limit, struct state *state)
{
	struct limit_sample sample = {
		.at_us = state->now_us,
		.iteration = state->iteration,
		.remaining = (uint64_t) state->remaining,
		.sent = (uint64_t) state->sent,
		.whole = (uint64_t) (state->iteration > 1 ? state->sent : 0),
		.qemu_rate = state->bandwidth,
		.link_rate = model->drain,
		.wire_rate = model->drain,
		.in_flight = (uint64_t) (model->drain * WINDOW_MS / 1e3),
		.round_trip_us = 200,
	};
	struct limit_change change;
	if (limit_look(limit, &sample, &change)) {
		g_assert_cmpint(change.limit_ms, !=, state->limit_ms);
		g_assert_cmpint(change.limit_ms, >=, LIMIT_LEAST_MS);
		state->limit_ms = change.limit_ms;
		model->last_change = change;
		model->changes++;
		g_test_message("%.2f s: %s, %d ms for %.1f MB, predicted %.0f of %.0f ms, round %d",
			       (double) state->now_us / 1e6, limit_reason_name(change.reason),
			       (int) change.limit_ms, (double) change.bytes / 1e6,
			       change.predicted_ms, change.target_ms, change.iteration);
	}
	model->most_limit_ms = fmax(model->most_limit_ms, (double) state->limit_ms);
	model->hopeless = limit_is_hopeless(limit);
}

static void run_for(struct model *model, int seconds)
{
	struct limit limit;
	struct state state = { .iteration = 1, .remaining = model->memory };
	limit_init(&limit, model->ceiling_ms, LIMIT_LEAST_MS);
	state.limit_ms = limit.limit_ms;
	for (; state.now_us < (int64_t) seconds * 1000000; state.now_us += TICK_US) {
		dirty_memory(model, &state);
		if (state.now_us >= state.sync_until_us) {
			send_pages(model, &state);
			if (qemu_stops(model, &state)) {
				model->stopped = true;
				break;
			}
		}
		if (state.now_us / 1000 % model->poll_ms == 0)
			poll_it(model, &limit, &state);
		if (model->hopeless)
			break;
	}
	model->iterations = state.iteration;
	model->stop_s = (double) state.now_us / 1e6;
	model->stop_bytes = state.remaining;
	g_test_message("%s after %.2f s in round %d with %.2f MB (%.0f ms), limit %d ms",
		       model->stopped ? "stopped" : "not stopped", model->stop_s, model->iterations,
		       model->stop_bytes / 1e6, model->stop_bytes / model->drain * 1e3,
		       (int) state.limit_ms);
}

static const struct model gigabit = { .dirty_rate = 0.2e6,
				      .set = 64e6,
				      .memory = 256e6,
				      .drain = 115e6,
				      .sync_ms = 3,
				      .ceiling_ms = 2000,
				      .poll_ms = 100 };

static double stop_ms(const struct model *model)
{
	return model->stop_bytes / model->drain * 1e3;
}

/* Nobody raises anything for a VM that hardly changes its memory. */
static void test_idle(void)
{
	struct model model = gigabit;
	run_for(&model, 60);
	g_assert_true(model.stopped);
	g_assert_cmpfloat(model.stop_s, <, 256.0 / 115 + 0.3);
	g_assert_cmpfloat(stop_ms(&model), <=, LIMIT_EASY_MS);
	g_assert_cmpfloat(model.most_limit_ms, <=, LIMIT_EASY_MS);
}

/* 100 Mbit/s: 1 ms is three pages there, so it takes the easy limit. */
static void test_slow_link(void)
{
	struct model model = gigabit;
	model.drain = 11.5e6;
	model.dirty_rate = 2e6;
	run_for(&model, 120);
	g_assert_true(model.stopped);
	g_assert_cmpfloat(model.stop_s, <, 256.0 / 11.5 + 8);
	g_assert_cmpfloat(stop_ms(&model), <, 20);
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
		run_for(&model, 60);
		g_assert_true(model.stopped);
		g_assert_cmpfloat(stop_ms(&model), <, 12.0 / 115 * 1e3 * 1.05);
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
	run_for(&model, 300);
	g_assert_false(model.stopped);
	g_assert_true(model.hopeless);
	g_assert_cmpfloat(model.most_limit_ms, <=, 180);
	/* not before it was really tried */
	g_assert_cmpfloat(model.stop_s, >, 20);
}

/* The same guest within a ceiling that has room for it: 0.56 s of 2 s. */
static void test_ceiling_allows(void)
{
	struct model model = gigabit;
	model.dirty_rate = 400e6;
	model.set = 64e6;
	run_for(&model, 300);
	g_assert_true(model.stopped);
	g_assert_cmpfloat(model.stop_s, <, 30);
	g_assert_cmpfloat(stop_ms(&model), <, 600);
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
	run_for(&model, 60);
	g_assert_true(model.stopped);
	g_assert_cmpfloat(model.stop_s, >, model.burst_until_s);
	g_assert_cmpfloat(stop_ms(&model), <, 10);
}

/* The first pass is taken at 2 GB/s, dirty pages at 12 MB/s: what QEMU believes of its bandwidth must
 * not let it stop with more than a moment's worth of dirty pages. */
static void test_cheap_first_pass(void)
{
	struct model model = gigabit;
	model.memory = 2e9;
	model.cheap = 2e9;
	model.drain = 11.5e6;
	model.dirty_rate = 3e6;
	run_for(&model, 60);
	g_assert_true(model.stopped);
	g_assert_cmpfloat(stop_ms(&model), <, 200);
	g_assert_cmpfloat(model.most_limit_ms, <=, 20);
}

/* A ceiling so low that what is in flight does not fit: nothing is raised beyond it. */
static void test_low_ceiling(void)
{
	struct model model = gigabit;
	model.dirty_rate = 60e6;
	model.ceiling_ms = 20;
	run_for(&model, 120);
	g_assert_cmpfloat(model.most_limit_ms, <=, 12);
	g_assert_true(model.stopped || model.hopeless);
}

/* Nothing known is no reason to divide by it. */
static void test_nothing_known(void)
{
	struct limit limit;
	struct limit_change change;
	limit_init(&limit, 2000, LIMIT_LEAST_MS);
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
	g_test_add_func("/limit/low-ceiling", test_low_ceiling);
	g_test_add_func("/limit/nothing-known", test_nothing_known);
	g_test_add_func("/limit/disk-trend", test_disk_trend);
	return g_test_run();
}
