/* SPDX-License-Identifier: Apache-2.0 */
/* The job's numbers and the ladder of QEMU's downtime limit. */
#include "journey/watch.h"

#include <glib.h>

enum {
	POLL_MS = 300,
	FIRST_LIMIT_MS = 100, /* or a third of the ceiling */
	FLAT_ROUNDS = 2,      /* so many rounds that did not get smaller: one step up */
	HOPELESS_ROUNDS = 40, /* so many at the top: it will not end by itself */
};
/* Of the ceiling, what QEMU may use for the rest of the memory: device state, the proof at the gate
 * and the hand-over need the other part. */
static const double top_share = 0.6;
static const double step_up = 1.6;
static const double smaller = 0.9; /* a round counts as smaller below this part of the last best */

struct watch {
	/* set once */
	virDomainPtr domain;
	int64_t ceiling_ms;
	GThread *thread;
	/* the thread's */
	int round;
	uint64_t round_start, best; /* remaining at the start of this round; the smallest ever */
	int flat, at_top;
	/* under lock */
	GMutex lock;
	GCond wake;
	bool stop;
	struct watch_numbers numbers;
};

static void set_limit(struct watch *watch, int64_t limit_ms)
{
	if (virDomainMigrateSetMaxDowntime(watch->domain, (unsigned long long) limit_ms, 0) < 0)
		return;
	g_mutex_lock(&watch->lock);
	watch->numbers.limit_ms = limit_ms;
	g_mutex_unlock(&watch->lock);
}

static void read_numbers(virTypedParameterPtr params, int count, struct watch_numbers *numbers)
{
	unsigned long long remaining = 0, total = 0, dirty = 0, page = 4096, iteration = 0;
	virTypedParamsGetULLong(params, count, VIR_DOMAIN_JOB_MEMORY_REMAINING, &remaining);
	virTypedParamsGetULLong(params, count, VIR_DOMAIN_JOB_MEMORY_TOTAL, &total);
	virTypedParamsGetULLong(params, count, VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE, &dirty);
	virTypedParamsGetULLong(params, count, VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE, &page);
	virTypedParamsGetULLong(params, count, VIR_DOMAIN_JOB_MEMORY_ITERATION, &iteration);
	numbers->remaining = remaining;
	numbers->total = total;
	numbers->dirty_rate = (double) dirty * (double) page;
	numbers->iteration = (int) iteration;
}

/* A round has ended: did it leave less than the best one before? Polled numbers inside a round are
 * a saw-tooth and say nothing. */
static void judge_round(struct watch *watch)
{
	int64_t top_ms = (int64_t) ((double) watch->ceiling_ms * top_share);
	int64_t limit_ms = watch->numbers.limit_ms;
	if (watch->best == 0 || (double) watch->round_start < (double) watch->best * smaller) {
		watch->best = watch->round_start;
		watch->flat = 0;
		return;
	}
	if (limit_ms >= top_ms)
		watch->at_top++;
	if (++watch->flat < FLAT_ROUNDS || limit_ms >= top_ms)
		return;
	watch->flat = 0;
	set_limit(watch, MIN(top_ms, (int64_t) ((double) limit_ms * step_up) + 1));
}

static void look(struct watch *watch)
{
	virTypedParameterPtr params = NULL;
	int count = 0, type = 0;
	if (virDomainGetJobStats(watch->domain, &type, &params, &count, 0) < 0)
		return;
	struct watch_numbers numbers = { 0 };
	read_numbers(params, count, &numbers);
	virTypedParamsFree(params, count);
	if (type == VIR_DOMAIN_JOB_NONE || numbers.total == 0)
		return;
	if (numbers.iteration > watch->round) {
		watch->round = numbers.iteration;
		watch->round_start = numbers.remaining;
		if (watch->round > 1) /* the first pass is everything */
			judge_round(watch);
	}
	g_mutex_lock(&watch->lock);
	numbers.limit_ms = watch->numbers.limit_ms;
	numbers.hopeless = watch->at_top >= HOPELESS_ROUNDS;
	watch->numbers = numbers;
	g_mutex_unlock(&watch->lock);
}

static gpointer work(gpointer data)
{
	struct watch *watch = data;
	g_mutex_lock(&watch->lock);
	while (!watch->stop) {
		g_mutex_unlock(&watch->lock);
		look(watch);
		g_mutex_lock(&watch->lock);
		gint64 until = g_get_monotonic_time() + POLL_MS * 1000;
		while (!watch->stop && g_cond_wait_until(&watch->wake, &watch->lock, until))
			;
	}
	g_mutex_unlock(&watch->lock);
	return NULL;
}

struct watch *watch_new(virDomainPtr domain, int64_t ceiling_ms)
{
	struct watch *watch = g_new0(struct watch, 1);
	virDomainRef(domain);
	watch->domain = domain;
	watch->ceiling_ms = ceiling_ms;
	g_mutex_init(&watch->lock);
	g_cond_init(&watch->wake);
	set_limit(watch, MAX(1, MIN(FIRST_LIMIT_MS, ceiling_ms / 3)));
	watch->thread = g_thread_new("watch", work, watch);
	return watch;
}

void watch_get(struct watch *watch, struct watch_numbers *numbers)
{
	g_mutex_lock(&watch->lock);
	*numbers = watch->numbers;
	g_mutex_unlock(&watch->lock);
}

void watch_free(struct watch *watch)
{
	if (!watch)
		return;
	g_mutex_lock(&watch->lock);
	watch->stop = true;
	g_cond_signal(&watch->wake);
	g_mutex_unlock(&watch->lock);
	g_thread_join(watch->thread);
	virDomainFree(watch->domain);
	g_mutex_clear(&watch->lock);
	g_cond_clear(&watch->wake);
	g_free(watch);
}
