/* SPDX-License-Identifier: Apache-2.0 */
#include "precopy.h"

#include <glib.h>
#include <math.h>

enum { TICK_US = 1000, BANDWIDTH_US = 100000, WINDOW_MS = 30 };

struct state {
	int64_t now_us, sync_until_us, bandwidth_from_us;
	double remaining, dirty, sent, bandwidth_sent, bandwidth;
	int iteration;
	int64_t limit_ms;
	/* QEMU's auto-converge */
	int high, wanted, throttle;
	double round_dirty, round_sent;
};

static void dirty_memory(const struct model *model, struct state *state)
{
	double now_s = (double) state->now_us / 1e6;
	bool burst = now_s >= model->burst_from_s && now_s < model->burst_until_s;
	double rate = burst ? model->burst_rate : model->dirty_rate;
	rate *= 1 - state->throttle / 100.0;
	double free_share = fmax(0, 1 - state->dirty / model->set);
	state->dirty += rate * free_share * TICK_US / 1e6;
}

static void send_pages(const struct model *model, struct state *state)
{
	bool cheap = (state->iteration == 1 && state->sent < model->cheap) ||
		     (state->iteration == 2 && state->remaining < model->same);
	double rate = cheap ? 2e9 : model->drain;
	double bytes = fmin(state->remaining, rate * TICK_US / 1e6);
	state->remaining -= bytes;
	state->sent += bytes;
	state->round_sent += bytes;
	state->bandwidth_sent += bytes;
	if (state->now_us - state->bandwidth_from_us < BANDWIDTH_US)
		return;
	state->bandwidth =
		state->bandwidth_sent * 1e6 / (double) (state->now_us - state->bandwidth_from_us);
	state->bandwidth_sent = 0;
	state->bandwidth_from_us = state->now_us;
}

/* At the end of a round: in every second one that was dirtied more than half as fast as sent. */
static void throttle(struct model *model, struct state *state, double dirtied)
{
	bool high = dirtied > state->round_sent / 2;
	state->round_sent = 0;
	if (!model->rules.max_slowdown || !high || ++state->high < 2)
		return;
	state->high = 0;
	state->throttle = MAX(state->wanted, 1);
	model->most_throttle = MAX(model->most_throttle, state->throttle);
}

/* QEMU: below the threshold it looks again at what is dirty, and stops if it is still below. */
static bool qemu_stops(struct model *model, struct state *state)
{
	double threshold = state->bandwidth * (double) state->limit_ms / 1e3;
	if (state->remaining > 0 && state->remaining >= threshold)
		return false;
	/* a page that waits to be sent and is changed again is still one page */
	double apart = state->iteration > 1 ? fmax(0, 1 - state->remaining / model->set) : 1;
	throttle(model, state, state->dirty);
	state->remaining += state->dirty * apart;
	state->dirty = 0;
	state->iteration++;
	state->sync_until_us = state->now_us + model->sync_ms * 1000;
	return state->remaining == 0 || state->remaining < threshold;
}

static void take(struct model *model, struct state *state, const struct ladder_decision *decision)
{
	g_test_message(
		"%.2f s: %s in round %d: %.1f MB, plateau %.1f, dirty %.0f of %.0f MB/s, %.0f "
		"of %.0f ms, slowdown %d",
		(double) state->now_us / 1e6, ladder_step_name(decision->step), decision->iteration,
		decision->size / 1e6, decision->plateau / 1e6, decision->dirty_rate / 1e6,
		decision->drain / 1e6, decision->predicted_ms, decision->room_ms,
		decision->slowdown);
	if (decision->step == LADDER_WAIT)
		return;
	state->wanted = decision->slowdown;
	model->step = decision->step;
	model->decided_in = decision->iteration;
	model->decided_s = (double) state->now_us / 1e6;
	model->last_decision = *decision;
	model->hopeless = decision->step == LADDER_STOP;
}

static void poll_it(struct model *model, struct limit *limit, struct ladder *ladder,
		    struct state *state)
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
		.carried = model->drain,
		.in_flight = (uint64_t) (model->drain * WINDOW_MS / 1e3),
		.round_trip_us = 200,
	};
	struct limit_change change;
	struct ladder_decision decision;
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
	if (ladder_look(ladder, limit, &sample, state->throttle, &decision))
		take(model, state, &decision);
}

void precopy_run(struct model *model, int seconds)
{
	struct limit limit;
	struct ladder ladder;
	struct state state = { .iteration = 1, .remaining = model->memory };
	limit_init(&limit, model->ceiling_ms, model->reserve_ms,
		   model->easy_ms ? model->easy_ms : RULE_EASY_MS);
	ladder_init(&ladder, &model->rules);
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
			poll_it(model, &limit, &ladder, &state);
		if (model->hopeless || model->step == LADDER_POSTCOPY)
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

double precopy_stop_ms(const struct model *model)
{
	return model->stop_bytes / model->drain * 1e3;
}
