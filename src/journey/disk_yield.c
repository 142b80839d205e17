/* SPDX-License-Identifier: Apache-2.0 */
#include "journey/disk_yield.h"

#include <glib.h>

/* of the baseline: too slow from here on, and room up to here */
static const double too_slow = 2, comfortable = 1.5;
/* of the rate, at one look */
static const double least_step = 0.4, most_step = 0.8, rise = 1.25, rise_unseen = 1.5;
/* A rate that is so many times what is copied does not hold it any more. */
static const double idle_rate = 3;

static double latency_ns(const struct disk_yield_look *from, const struct disk_yield_look *to)
{
	if (!from->at_us || to->operations < from->operations + DISK_YIELD_OPS ||
	    to->busy_ns < from->busy_ns)
		return 0;
	double each = (double) (to->busy_ns - from->busy_ns) /
		      (double) (to->operations - from->operations);
	return MAX(each, DISK_YIELD_FLOOR_NS);
}

void disk_yield_init(struct disk_yield *yield, uint64_t cap, const struct disk_yield_look *before,
		     const struct disk_yield_look *after)
{
	*yield = (struct disk_yield){ .cap = cap,
				      .rate = cap,
				      .baseline_ns = latency_ns(before, after) };
}

static double lowered(const struct disk_yield *yield, double latency, double copied)
{
	double from = yield->rate > 0 ? MIN((double) yield->rate, MAX(copied, 1)) : copied;
	double step = CLAMP(too_slow * yield->baseline_ns / latency, least_step, most_step);
	return MAX(from * step, DISK_YIELD_LEAST_RATE);
}

static double raised(const struct disk_yield *yield, double latency, double copied)
{
	double rate = (double) yield->rate * (latency > 0 ? rise : rise_unseen);
	bool idle = rate > copied * idle_rate;
	return idle || (yield->cap && rate > (double) yield->cap) ? (double) yield->cap : rate;
}

static uint64_t decide(const struct disk_yield *yield, double latency, double copied)
{
	if (latency > yield->baseline_ns * too_slow)
		return copied > 0 ? (uint64_t) lowered(yield, latency, copied) : yield->rate;
	if (yield->rate != yield->cap && latency < yield->baseline_ns * comfortable)
		return (uint64_t) raised(yield, latency, copied);
	return yield->rate;
}

bool disk_yield_look(struct disk_yield *yield, const struct disk_yield_look *look)
{
	const struct disk_yield_look last = yield->last;
	bool first = !yield->looked;
	yield->last = *look;
	yield->looked = true;
	if (first || yield->baseline_ns <= 0 || look->at_us <= last.at_us)
		return false;
	double elapsed_s = (double) (look->at_us - last.at_us) / 1e6;
	double copied =
		look->copied > last.copied ? (double) (look->copied - last.copied) / elapsed_s : 0;
	uint64_t rate = decide(yield, latency_ns(&last, look), copied);
	bool changed = rate != yield->rate;
	yield->rate = rate;
	return changed;
}
