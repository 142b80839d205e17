/* SPDX-License-Identifier: Apache-2.0 */
/* The rate and the rest from which the end of a stop follows. */
#include "conductor/quick/quick_limit.h"

#include <glib.h>

void quick_limit_init(struct quick_limit *limit, int64_t stopped_us, int64_t limit_ms)
{
	*limit = (struct quick_limit){ .stopped_us = stopped_us, .limit_ms = limit_ms };
}

/* Bytes a second between two looks; 0: nothing has gone. */
static double rate_between(const struct quick_look *old, const struct quick_look *new)
{
	double elapsed_s = (double) (new->at_us - old->at_us) / 1e6;
	double gone = (double) old->remaining - (double) new->remaining;
	return elapsed_s > 0 && gone > 0 ? gone / elapsed_s : 0;
}

/* A silence moves what was seen before it along, as if it had just been. */
static bool has_moved(struct quick_limit *limit, const struct quick_look *now)
{
	if (now->remaining != limit->moved.remaining) {
		limit->moved = *now;
		limit->silent = false;
		return true;
	}
	int64_t silent_us = now->at_us - limit->moved.at_us;
	if (!limit->silent && silent_us < QUICK_SILENT_MS * 1000)
		return false;
	limit->first.at_us += silent_us;
	limit->mark.at_us += silent_us;
	limit->moved.at_us = now->at_us;
	limit->silent_us += silent_us;
	limit->silent = true;
	return false;
}

static double take_rate(struct quick_limit *limit, const struct quick_look *now)
{
	if (!has_moved(limit, now))
		return limit->rate;
	if (now->at_us - limit->mark.at_us >= QUICK_LATE_MS * 1000) {
		limit->late_rate = rate_between(&limit->mark, now);
		limit->mark = *now;
	}
	limit->rate = MAX(rate_between(&limit->first, now), limit->late_rate);
	return limit->rate;
}

bool quick_limit_look(struct quick_limit *limit, int64_t now_us, uint64_t remaining)
{
	struct quick_look now = { now_us, remaining };
	int64_t stood_ms = (now_us - limit->stopped_us) / 1000;
	if (!limit->first.at_us)
		limit->first = limit->mark = limit->moved = now;
	double rate = take_rate(limit, &now);
	int64_t seen_ms = stood_ms - limit->silent_us / 1000;
	if (seen_ms < MAX(QUICK_SETTLE_MS, limit->limit_ms / 10) || rate <= 0)
		return false;
	limit->needed_ms = stood_ms + (int64_t) ((double) remaining / rate * 1000);
	limit->bad = limit->needed_ms > limit->limit_ms ? limit->bad + 1 : 0;
	return limit->limit_ms && limit->bad >= QUICK_BAD_LOOKS;
}
