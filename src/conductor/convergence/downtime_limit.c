/* SPDX-License-Identifier: Apache-2.0 */
/* The decision on QEMU's downtime limit; see downtime_limit.h. */
#include "conductor/convergence/downtime_limit.h"

#include <glib.h>
#include <math.h>

enum {
	HOPELESS_ROUNDS = 10, /* so many at the top, and at least so long */
	HOPELESS_US = 20 * 1000 * 1000,
};
static const double target_step = 1.6; /* the target grows by that for each flat round */
static const double slack = 1.1;       /* a round so near to the best one is as good */
static const double slack_step = 1.15; /* and more for each round that missed even that */
static const double drain_weight = 0.4;
/* QEMU measures its bandwidth over so long (BUFFER_DELAY in its migration.c). */
static const double qemu_window_s = 0.1;
static const double worth_setting = 0.2; /* QEMU hears of a limit that differs by that part */

static const char *const reason_names[] = {
	[LIMIT_EASY] = "easy",
	[LIMIT_FLAT] = "flat",
	[LIMIT_MISSED] = "missed",
	[LIMIT_RATE] = "rate",
};
_Static_assert(G_N_ELEMENTS(reason_names) == LIMIT_REASON_LAST, "every reason has a name");

const char *limit_reason_name(enum limit_reason reason)
{
	return reason_names[reason];
}

/* Of a ceiling that leaves little beside the hand-over, three quarters of what is left. */
static double top_of(int64_t ceiling_ms, int64_t reserve_ms)
{
	double ceiling = (double) ceiling_ms, left = ceiling - (double) reserve_ms;
	return fmax(fmin(ceiling * rule_top_share, left * 0.75), 1);
}

void limit_init(struct limit *limit, int64_t ceiling_ms, int64_t reserve_ms, int64_t easy_ms)
{
	*limit = (struct limit){ .ceiling_ms = ceiling_ms,
				 .top_ms = top_of(ceiling_ms, reserve_ms),
				 .easy_ms = easy_ms,
				 .limit_ms = LIMIT_LEAST_MS };
}

void limit_lower(struct limit *limit, int64_t ceiling_ms, int64_t reserve_ms)
{
	limit->ceiling_ms = ceiling_ms;
	limit->top_ms = fmin(limit->top_ms, top_of(ceiling_ms, reserve_ms));
	/* what fitted the old one is decided anew, at the next look */
	if ((double) limit->limit_ms > limit->top_ms)
		limit->allowed = 0;
}

void limit_forget(struct limit *limit)
{
	limit->count = 0;
	limit->flat = limit->misses = limit->steps = limit->at_top = 0;
	limit->allowed = 0;
}

/* ---- what is measured ---- */

/* Only what is sent after the first pass are dirty pages. QEMU is held back by the movers' window,
 * so what it sends is what arrives; but the beginning of a round only fills what the last one left empty
 * there, so no more than the link carries counts. */
static void learn_drain(struct limit *limit, const struct limit_sample *sample)
{
	double elapsed_s = (double) (sample->at_us - limit->last.at_us) / 1e6;
	double sent = (double) (sample->whole - limit->last.whole);
	if (limit->last.iteration < 2 || elapsed_s <= 0 || sent <= 0)
		return;
	double rate = sent / elapsed_s;
	if (sample->carried > 0)
		rate = fmin(rate, sample->carried);
	/* The first look may have met the cheap pages of a round only: what the wire carries is known before. */
	double before = limit->drain > 0 ? limit->drain : sample->wire_rate;
	limit->drain = before > 0 ? before + (rate - before) * drain_weight : rate;
}

/* Small rounds do not keep the link busy, and then what was sent says too little. But a dirty page
 * never takes more than its own bytes on the wire, and what the wire carries was seen. */
static double drain_of(const struct limit *limit, const struct limit_sample *sample)
{
	return fmax(limit->drain, sample->wire_rate);
}

/* How large are the rounds? What was sent since the last look went to the rest of the round that was
 * seen then, and all beyond that to those that have begun since, of which `remaining` is left. Of more
 * than one, the average; and what QEMU leaves unsent at the end of each (with a raised limit that may be
 * most of it) is in all of them. */
static double round_size(const struct limit *limit, const struct limit_sample *sample)
{
	double sent = (double) (sample->sent - limit->last.sent);
	double begun = fmax(sent - (double) limit->last.remaining, 0) + (double) sample->remaining;
	int rounds = sample->iteration - limit->last.iteration;
	double left = sample->qemu_rate * (double) limit->limit_ms / 1e3;
	return rounds == 1 ? begun : left + begun / rounds;
}

double limit_best_round(const struct limit *limit)
{
	double best = INFINITY;
	for (unsigned i = 0; i < MIN(limit->count, LIMIT_ROUNDS); i++)
		best = fmin(best, limit->rounds[i]);
	return best;
}

/* What passes between the stop and the last page's arrival, besides the pages themselves. */
static double overhead_ms(const struct limit_sample *sample)
{
	double ms = (double) sample->round_trip_us / 1e3;
	if (sample->link_rate > 0)
		ms += (double) sample->in_flight / sample->link_rate * 1e3;
	return ms;
}

double limit_predict_ms(const struct limit *limit, const struct limit_sample *sample, double bytes)
{
	double drain = drain_of(limit, sample);
	return drain > 0 ? overhead_ms(sample) + bytes / drain * 1e3 : INFINITY;
}

/* ---- the decision ---- */

static void note_round(struct limit *limit, const struct limit_sample *sample)
{
	double size = round_size(limit, sample), best = limit_best_round(limit);
	double elapsed_s = (double) (sample->at_us - limit->round_us) / 1e6;
	limit->round_us = sample->at_us;
	if (size <= 0)
		return;
	limit->round = (struct limit_round){ .iteration = sample->iteration,
					     .bytes = size,
					     .seconds = elapsed_s,
					     .drain = drain_of(limit, sample) };
	limit->fresh_round = true;
	bool less = size < best * rule_smaller; /* the first one always is */
	limit->rounds[limit->count++ % LIMIT_ROUNDS] = size;
	limit->flat = less ? 0 : limit->flat + 1;
	limit->misses = less || limit->allowed <= 0 ? 0 : limit->misses + 1;
	/* Chance makes a round smaller now and then; only a new state of things starts anew. */
	if (size < best / 2)
		limit->steps = 0;
	else if (limit->flat > RULE_FLAT_ROUNDS)
		limit->steps += (int) fmax(elapsed_s, 1); /* long rounds are patience enough */
}

static void note_top(struct limit *limit, const struct limit_sample *sample)
{
	if (limit->target_ms < limit->top_ms)
		limit->at_top = 0;
	else if (limit->at_top++ == 0)
		limit->top_since_us = sample->at_us;
}

/* What QEMU may leave to the stop: about the best round of late, if that fits the target. After some
 * misses it is more, as far as the target goes. */
static enum limit_reason decide_limit(struct limit *limit, const struct limit_sample *sample)
{
	double comfort = fmin(LIMIT_COMFORT_MS, limit->top_ms);
	double best = limit_best_round(limit), before = limit->allowed;
	limit->target_ms = fmin(comfort * pow(target_step, limit->steps), limit->top_ms);
	note_top(limit, sample);
	if (limit_predict_ms(limit, sample, best) > limit->target_ms)
		return LIMIT_RATE;
	double room = (limit->target_ms - overhead_ms(sample)) / 1e3 * drain_of(limit, sample);
	limit->allowed = fmin(best * slack * pow(slack_step, limit->misses), room);
	return before > 0 ? LIMIT_MISSED : LIMIT_FLAT;
}

static bool differs(int64_t limit_ms, int64_t before_ms)
{
	int64_t difference = ABS(limit_ms - before_ms);
	return difference >= 2 && (double) difference >= worth_setting * (double) before_ms;
}

/* QEMU's words for it. Its bandwidth may be stale, or that of a link that was not busy: what was seen
 * of dirty pages is what it may soon measure. And what remains of a large round may all be cheap (pages
 * that were written before they were sent are the same again, and mostly lie together): then QEMU
 * measures all of it in one of its windows, with what was sent LATELY, since the look before, and would
 * leave as much of the next round to the stop.
 * In the first pass nothing is allowed: at its end what was read of it and is not sent yet (whole pages,
 * unlike what comes later) would stand before the stop's own. */
static bool translate_limit(struct limit *limit, const struct limit_sample *sample, double lately,
			    enum limit_reason reason, struct limit_change *change)
{
	double drain = drain_of(limit, sample);
	double easy_ms = fmin((double) limit->easy_ms, limit->top_ms);
	double bytes = fmax(limit->allowed, easy_ms / 1e3 * drain);
	double rate = sample->qemu_rate > 0 ? sample->qemu_rate : drain;
	rate = fmax(rate, limit->drain);
	if ((double) sample->remaining > bytes)
		rate = fmax(rate, ((double) sample->remaining + lately) / qemu_window_s);
	if (limit->held || bytes <= 0 || rate <= 0 || sample->iteration < 2)
		return false;
	double wanted_ms = fmin(ceil(bytes / rate * 1e3), floor(limit->top_ms));
	int64_t limit_ms = (int64_t) fmax(wanted_ms, LIMIT_LEAST_MS);
	if (!differs(limit_ms, limit->limit_ms))
		return false;
	limit->limit_ms = limit_ms;
	*change = (struct limit_change){
		.limit_ms = limit_ms,
		.reason = limit->allowed > 0 ? reason : LIMIT_EASY,
		.iteration = sample->iteration,
		.flat_rounds = limit->flat,
		.bytes = (uint64_t) bytes,
		.drain = drain,
		.qemu_rate = rate,
		.predicted_ms = limit_predict_ms(limit, sample, bytes),
		.target_ms = limit->allowed > 0 ? limit->target_ms : easy_ms,
	};
	return true;
}

bool limit_look(struct limit *limit, const struct limit_sample *sample, struct limit_change *change)
{
	enum limit_reason reason = LIMIT_RATE;
	double lately = 0;
	if (limit->looked && sample->sent >= limit->last.sent) {
		lately = (double) (sample->sent - limit->last.sent);
		learn_drain(limit, sample);
		if (sample->iteration > limit->last.iteration && sample->iteration > 1) {
			note_round(limit, sample);
			if (limit->flat >= RULE_FLAT_ROUNDS)
				reason = decide_limit(limit, sample);
		}
	}
	if (!limit->looked)
		limit->round_us = sample->at_us;
	limit->last = *sample;
	limit->looked = true;
	return sample->iteration > 0 && translate_limit(limit, sample, lately, reason, change);
}

bool limit_is_hopeless(const struct limit *limit)
{
	return limit->at_top >= HOPELESS_ROUNDS &&
	       limit->last.at_us - limit->top_since_us >= HOPELESS_US;
}
