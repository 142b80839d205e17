/* SPDX-License-Identifier: Apache-2.0 */
/* The rate of a disk's copy that leaves the guest its share. */
#include "conductor/convergence/disk_yield.h"

#include <glib.h>

/* of the baseline: too slow from here on, and room up to here */
static const double too_slow = 2, comfortable = 1.5;
/* one look is enough from here on, else it takes two in a row */
static const double far_too_slow = 4;
static const double least_part = 0.125; /* of the most that was copied */
/* of the rate, at one look */
static const double least_step = 0.4, most_step = 0.8, rise = 1.12, rise_unseen = 1.25;
/* near to what was too fast */
static const double near = 0.8, rise_near = 1.04;
/* A rate that is so many times what is copied does not hold it any more. */
static const double idle_rate = 3;

static double latency_ns(const struct disk_yield_look *from, const struct disk_yield_look *to)
{
	if (!from->at_us || to->operations <= from->operations || to->busy_ns < from->busy_ns)
		return 0;
	uint64_t operations = to->operations - from->operations;
	uint64_t busy_ns = to->busy_ns - from->busy_ns;
	if (operations < DISK_YIELD_OPS && busy_ns < DISK_YIELD_BUSY_NS)
		return 0;
	return MAX((double) busy_ns / (double) operations, DISK_YIELD_FLOOR_NS);
}

void disk_yield_init(struct disk_yield *yield, uint64_t cap, const struct disk_yield_look *before,
		     const struct disk_yield_look *after)
{
	*yield = (struct disk_yield){
		.cap = cap, .rate = cap, .last = *after, .baseline_ns = latency_ns(before, after)
	};
}

static double lowered(const struct disk_yield *yield, double latency, double copied)
{
	double from = yield->rate > 0 ? MIN((double) yield->rate, MAX(copied, 1)) : copied;
	double step = CLAMP(too_slow * yield->baseline_ns / latency, least_step, most_step);
	return MAX(from * step, MAX(DISK_YIELD_LEAST_RATE, yield->most * least_part));
}

static double raised(const struct disk_yield *yield, double latency, double copied)
{
	bool is_near = (double) yield->rate > yield->too_fast * near && yield->too_fast > 0;
	double step = latency <= 0 ? rise_unseen : is_near ? rise_near : rise;
	double rate = (double) yield->rate * step;
	bool idle = rate > copied * idle_rate;
	return idle || (yield->cap && rate > (double) yield->cap) ? (double) yield->cap : rate;
}

static uint64_t decide_yield(const struct disk_yield *yield, double latency, double copied)
{
	bool slow = latency > yield->baseline_ns * too_slow;
	if (slow && !yield->slow && latency < yield->baseline_ns * far_too_slow)
		return yield->rate;
	if (slow)
		return copied > 0 ? (uint64_t) lowered(yield, latency, copied) : yield->rate;
	if (yield->rate != yield->cap && latency < yield->baseline_ns * comfortable)
		return (uint64_t) raised(yield, latency, copied);
	return yield->rate;
}

bool disk_yield_look(struct disk_yield *yield, const struct disk_yield_look *look)
{
	const struct disk_yield_look last = yield->last;
	yield->last = *look;
	if (yield->baseline_ns <= 0 || look->at_us <= last.at_us)
		return false;
	double elapsed_s = (double) (look->at_us - last.at_us) / 1e6;
	double copied =
		look->copied > last.copied ? (double) (look->copied - last.copied) / elapsed_s : 0;
	double latency = latency_ns(&last, look);
	yield->most = MAX(yield->most, copied);
	uint64_t rate = decide_yield(yield, latency, copied);
	yield->slow = latency > yield->baseline_ns * too_slow;
	bool changed = rate != yield->rate;
	if (changed && (!yield->rate || (rate && rate < yield->rate)))
		yield->too_fast = MAX(copied, DISK_YIELD_LEAST_RATE);
	yield->rate = rate;
	return changed;
}
