/* SPDX-License-Identifier: Apache-2.0 */
/* The job's numbers, and QEMU's downtime limit set from them. */
#include "journey/watch.h"

#include "base/clock.h"

#include <glib.h>

enum {
	POLL_MS = 300,        /* in the first pass */
	POLL_ROUNDS_MS = 100, /* later: QEMU measures its bandwidth over as much */
	SOON = 4,             /* that part of the memory is left: the first pass is about to end */
};

struct watch {
	/* set once */
	virDomainPtr domain;
	GThread *thread;
	/* the thread's */
	struct limit limit;
	/* under lock */
	GMutex lock;
	GCond wake;
	bool stop;
	int64_t asked_ms; /* since when it looks; 0: it does not */
	struct watch_numbers numbers;
	struct watch_link link;
	GQueue changes; /* struct limit_change, carried out */
};

static bool set_limit(struct watch *watch, int64_t limit_ms)
{
	if (virDomainMigrateSetMaxDowntime(watch->domain, (unsigned long long) limit_ms, 0) < 0)
		return false;
	g_mutex_lock(&watch->lock);
	watch->numbers.limit_ms = limit_ms;
	g_mutex_unlock(&watch->lock);
	return true;
}

static uint64_t number(virTypedParameterPtr params, int count, const char *name)
{
	unsigned long long value = 0;
	virTypedParamsGetULLong(params, count, name, &value);
	return value;
}

static void read_numbers(virTypedParameterPtr params, int count, struct watch_numbers *numbers,
			 struct limit_sample *sample)
{
	uint64_t page = number(params, count, VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE);
	page = page > 0 ? page : 4096;
	numbers->remaining = number(params, count, VIR_DOMAIN_JOB_MEMORY_REMAINING);
	numbers->total = number(params, count, VIR_DOMAIN_JOB_MEMORY_TOTAL);
	numbers->iteration = (int) number(params, count, VIR_DOMAIN_JOB_MEMORY_ITERATION);
	numbers->disk_total = number(params, count, VIR_DOMAIN_JOB_DISK_TOTAL);
	numbers->disk_done = number(params, count, VIR_DOMAIN_JOB_DISK_PROCESSED);
	numbers->disks_only = numbers->total == 0 && numbers->disk_total > 0;
	numbers->at_us = sample->at_us;
	numbers->dirty_rate =
		(double) number(params, count, VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE) * (double) page;
	sample->iteration = numbers->iteration;
	sample->remaining = numbers->remaining;
	sample->whole = number(params, count, VIR_DOMAIN_JOB_MEMORY_NORMAL_BYTES);
	sample->sent = sample->whole + number(params, count, VIR_DOMAIN_JOB_MEMORY_CONSTANT) * page;
	sample->qemu_rate = (double) number(params, count, VIR_DOMAIN_JOB_MEMORY_BPS);
}

static void decide(struct watch *watch, struct limit_sample *sample)
{
	struct limit_change change;
	g_mutex_lock(&watch->lock);
	sample->link_rate = watch->link.rate;
	sample->wire_rate = watch->link.wire_rate;
	sample->in_flight = watch->link.in_flight;
	sample->round_trip_us = watch->link.round_trip_us;
	g_mutex_unlock(&watch->lock);
	if (!limit_look(&watch->limit, sample, &change) || !set_limit(watch, change.limit_ms))
		return;
	g_mutex_lock(&watch->lock);
	g_queue_push_tail(&watch->changes, g_memdup2(&change, sizeof(change)));
	g_mutex_unlock(&watch->lock);
}

/* Returns how long to wait for the next look. */
static int look(struct watch *watch)
{
	virTypedParameterPtr params = NULL;
	int count = 0, type = 0;
	if (virDomainGetJobStats(watch->domain, &type, &params, &count, 0) < 0)
		return POLL_MS;
	struct watch_numbers numbers = { 0 };
	struct limit_sample sample = { .at_us = clock_now_us() };
	read_numbers(params, count, &numbers, &sample);
	virTypedParamsFree(params, count);
	if (type == VIR_DOMAIN_JOB_NONE || (numbers.total == 0 && !numbers.disks_only))
		return POLL_MS;
	/* while only disks are copied no rounds over memory are there to be judged */
	if (!numbers.disks_only)
		decide(watch, &sample);
	g_mutex_lock(&watch->lock);
	numbers.limit_ms = watch->numbers.limit_ms;
	numbers.hopeless = limit_is_hopeless(&watch->limit);
	watch->numbers = numbers;
	g_mutex_unlock(&watch->lock);
	bool ends_soon = numbers.remaining < numbers.total / SOON;
	return numbers.iteration > 1 || ends_soon ? POLL_ROUNDS_MS : POLL_MS;
}

static gpointer work(gpointer data)
{
	struct watch *watch = data;
	g_mutex_lock(&watch->lock);
	while (!watch->stop) {
		watch->asked_ms = clock_now_ms();
		g_mutex_unlock(&watch->lock);
		int pause_ms = look(watch);
		gint64 until = g_get_monotonic_time() + pause_ms * 1000;
		g_mutex_lock(&watch->lock);
		watch->asked_ms = 0;
		while (!watch->stop && g_cond_wait_until(&watch->wake, &watch->lock, until))
			;
	}
	g_mutex_unlock(&watch->lock);
	return NULL;
}

struct watch *watch_new(virDomainPtr domain, int64_t ceiling_ms, int64_t least_ms)
{
	struct watch *watch = g_new0(struct watch, 1);
	virDomainRef(domain);
	watch->domain = domain;
	limit_init(&watch->limit, ceiling_ms, least_ms);
	g_mutex_init(&watch->lock);
	g_cond_init(&watch->wake);
	set_limit(watch, least_ms);
	watch->thread = g_thread_new("watch", work, watch);
	return watch;
}

void watch_get(struct watch *watch, struct watch_numbers *numbers)
{
	g_mutex_lock(&watch->lock);
	*numbers = watch->numbers;
	g_mutex_unlock(&watch->lock);
}

void watch_set_link(struct watch *watch, const struct watch_link *link)
{
	g_mutex_lock(&watch->lock);
	watch->link = *link;
	g_mutex_unlock(&watch->lock);
}

bool watch_take_change(struct watch *watch, struct limit_change *change)
{
	g_mutex_lock(&watch->lock);
	g_autofree struct limit_change *first = g_queue_pop_head(&watch->changes);
	g_mutex_unlock(&watch->lock);
	if (first)
		*change = *first;
	return first != NULL;
}

int64_t watch_waiting_ms(struct watch *watch)
{
	g_mutex_lock(&watch->lock);
	int64_t asked_ms = watch->asked_ms;
	g_mutex_unlock(&watch->lock);
	return asked_ms ? clock_now_ms() - asked_ms : 0;
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
	g_queue_clear_full(&watch->changes, g_free);
	g_mutex_clear(&watch->lock);
	g_cond_clear(&watch->wake);
	g_free(watch);
}
