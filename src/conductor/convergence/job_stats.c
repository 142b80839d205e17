/* SPDX-License-Identifier: Apache-2.0 */
/* The job's numbers, and QEMU's downtime limit and throttle set from them. */
#include "conductor/convergence/job_stats.h"

#include "conductor/convergence/throttle.h"

#include "base/clock.h"

#include <glib.h>
#include <libvirt/virterror.h>

enum {
	POLL_MS = 300,        /* in the first pass */
	POLL_END_MS = 25,     /* at its very end: the rounds of an idle VM are over in no time */
	POLL_ROUNDS_MS = 100, /* later: QEMU measures its bandwidth over as much */
	SOON = 4,             /* that part of the memory is left: the first pass is about to end */
	AT_ONCE = 64,         /* and now it ends */
};

struct job_stats {
	/* set once */
	virDomainPtr domain;
	GThread *thread;
	/* the thread's */
	struct limit limit;
	struct ladder ladder;
	/* under lock */
	GMutex lock;
	GCond wake;
	bool stop;
	int64_t asked_ms; /* since when it looks; 0: it does not */
	int64_t gone_ms;  /* since when the VM is seen to have ended; 0: it has not */
	struct job_stats_numbers numbers;
	struct job_stats_link link;
	GQueue changes;   /* struct limit_change, carried out */
	GQueue decisions; /* struct ladder_decision */
	struct job_stats_rules rules;
	bool tightened; /* the rules are, since the last look */
};

static bool set_limit(struct job_stats *watch, int64_t limit_ms)
{
	if (virDomainMigrateSetMaxDowntime(watch->domain, (unsigned long long) limit_ms, 0) < 0)
		return false;
	g_mutex_lock(&watch->lock);
	watch->numbers.limit_ms = limit_ms;
	g_mutex_unlock(&watch->lock);
	return true;
}

static uint64_t number_of_job(virTypedParameterPtr params, int count, const char *name)
{
	unsigned long long value = 0;
	virTypedParamsGetULLong(params, count, name, &value);
	return value;
}

static void read_numbers(virTypedParameterPtr params, int count, struct job_stats_numbers *numbers,
			 struct limit_sample *sample)
{
	uint64_t page = number_of_job(params, count, VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE);
	page = page > 0 ? page : 4096;
	numbers->remaining = number_of_job(params, count, VIR_DOMAIN_JOB_MEMORY_REMAINING);
	numbers->total = number_of_job(params, count, VIR_DOMAIN_JOB_MEMORY_TOTAL);
	numbers->iteration = (int) number_of_job(params, count, VIR_DOMAIN_JOB_MEMORY_ITERATION);
	numbers->disk_total = number_of_job(params, count, VIR_DOMAIN_JOB_DISK_TOTAL);
	numbers->disk_done = number_of_job(params, count, VIR_DOMAIN_JOB_DISK_PROCESSED);
	virTypedParamsGetInt(params, count, VIR_DOMAIN_JOB_AUTO_CONVERGE_THROTTLE,
			     &numbers->throttle);
	numbers->disks_only = numbers->total == 0 && numbers->disk_total > 0;
	numbers->at_us = sample->at_us;
	numbers->dirty_rate =
		(double) number_of_job(params, count, VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE) *
		(double) page;
	sample->iteration = numbers->iteration;
	sample->remaining = numbers->remaining;
	sample->whole = number_of_job(params, count, VIR_DOMAIN_JOB_MEMORY_NORMAL_BYTES);
	sample->sent =
		sample->whole + number_of_job(params, count, VIR_DOMAIN_JOB_MEMORY_CONSTANT) * page;
	sample->qemu_rate = (double) number_of_job(params, count, VIR_DOMAIN_JOB_MEMORY_BPS);
}

/* What another thread changed and knows, for this look. */
static void take_news(struct job_stats *watch, struct limit_sample *sample)
{
	g_mutex_lock(&watch->lock);
	sample->link_rate = watch->link.rate;
	sample->wire_rate = watch->link.wire_rate;
	sample->carried = watch->link.carried;
	sample->in_flight = watch->link.in_flight;
	sample->round_trip_us = watch->link.round_trip_us;
	if (watch->tightened)
		limit_lower(&watch->limit, watch->rules.ceiling_ms, watch->rules.reserve_ms);
	if (watch->tightened && !watch->rules.ladder.postcopy)
		ladder_forbid_postcopy(&watch->ladder);
	watch->tightened = false;
	g_mutex_unlock(&watch->lock);
}

static void keep(struct job_stats *watch, GQueue *queue, gpointer copy)
{
	g_mutex_lock(&watch->lock);
	g_queue_push_tail(queue, copy);
	g_mutex_unlock(&watch->lock);
}

static void decide_next(struct job_stats *watch, struct limit_sample *sample, int throttle)
{
	struct limit_change change;
	struct ladder_decision decision;
	take_news(watch, sample);
	/* QEMU hears of the switch a little after it was decided */
	watch->limit.held = watch->ladder.rules.postcopy_first;
	if (limit_look(&watch->limit, sample, &change) && set_limit(watch, change.limit_ms))
		keep(watch, &watch->changes, g_memdup2(&change, sizeof(change)));
	if (!ladder_look(&watch->ladder, &watch->limit, sample, throttle, &decision))
		return;
	if (decision.step == LADDER_THROTTLE)
		throttle_set(watch->domain, decision.slowdown, NULL);
	keep(watch, &watch->decisions, g_memdup2(&decision, sizeof(decision)));
}

/* Whether the VM has ended, by its own will or a person's: of its job there is nothing to be heard then. */
static void look_for_end(struct job_stats *watch)
{
	int state = VIR_DOMAIN_NOSTATE;
	bool there = virDomainGetState(watch->domain, &state, NULL, 0) == 0;
	bool ended = there && (state == VIR_DOMAIN_SHUTOFF || state == VIR_DOMAIN_CRASHED);
	ended |= !there && virGetLastErrorCode() == VIR_ERR_NO_DOMAIN;
	g_mutex_lock(&watch->lock);
	if (!ended)
		watch->gone_ms = 0;
	else if (!watch->gone_ms)
		watch->gone_ms = clock_now_ms();
	g_mutex_unlock(&watch->lock);
}

/* Returns how long to wait for the next look. */
static int look_at_stats(struct job_stats *watch)
{
	virTypedParameterPtr params = NULL;
	int count = 0, type = 0;
	if (virDomainGetJobStats(watch->domain, &type, &params, &count, 0) < 0) {
		look_for_end(watch);
		return POLL_MS;
	}
	struct job_stats_numbers numbers = { 0 };
	struct limit_sample sample = { .at_us = clock_now_us() };
	read_numbers(params, count, &numbers, &sample);
	virTypedParamsFree(params, count);
	if (type == VIR_DOMAIN_JOB_NONE || (numbers.total == 0 && !numbers.disks_only))
		return POLL_MS;
	/* while only disks are copied no rounds over memory are there to be judged */
	if (!numbers.disks_only)
		decide_next(watch, &sample, numbers.throttle);
	g_mutex_lock(&watch->lock);
	numbers.limit_ms = watch->numbers.limit_ms;
	watch->numbers = numbers;
	g_mutex_unlock(&watch->lock);
	if (numbers.iteration <= 1 && numbers.remaining < numbers.total / AT_ONCE)
		return POLL_END_MS;
	bool ends_soon = numbers.remaining < numbers.total / SOON;
	return numbers.iteration > 1 || ends_soon ? POLL_ROUNDS_MS : POLL_MS;
}

static gpointer stats_thread(gpointer data)
{
	struct job_stats *watch = data;
	g_mutex_lock(&watch->lock);
	while (!watch->stop) {
		watch->asked_ms = clock_now_ms();
		g_mutex_unlock(&watch->lock);
		int pause_ms = look_at_stats(watch);
		gint64 until = g_get_monotonic_time() + pause_ms * 1000;
		g_mutex_lock(&watch->lock);
		watch->asked_ms = 0;
		while (!watch->stop && g_cond_wait_until(&watch->wake, &watch->lock, until))
			;
	}
	g_mutex_unlock(&watch->lock);
	return NULL;
}

struct job_stats *job_stats_new(virDomainPtr domain, const struct job_stats_rules *rules)
{
	struct job_stats *watch = g_new0(struct job_stats, 1);
	virDomainRef(domain);
	watch->domain = domain;
	watch->rules = *rules;
	limit_init(&watch->limit, rules->ceiling_ms, rules->reserve_ms, rules->easy_ms);
	ladder_init(&watch->ladder, &rules->ladder);
	g_mutex_init(&watch->lock);
	g_cond_init(&watch->wake);
	set_limit(watch, LIMIT_LEAST_MS);
	watch->thread = g_thread_new("job-stats", stats_thread, watch);
	return watch;
}

void job_stats_get(struct job_stats *watch, struct job_stats_numbers *numbers)
{
	g_mutex_lock(&watch->lock);
	*numbers = watch->numbers;
	g_mutex_unlock(&watch->lock);
}

int64_t job_stats_gone_ms(struct job_stats *watch)
{
	g_mutex_lock(&watch->lock);
	int64_t gone_ms = watch->gone_ms;
	g_mutex_unlock(&watch->lock);
	return gone_ms ? clock_now_ms() - gone_ms : 0;
}

void job_stats_set_link(struct job_stats *watch, const struct job_stats_link *link)
{
	g_mutex_lock(&watch->lock);
	watch->link = *link;
	g_mutex_unlock(&watch->lock);
}

void job_stats_tighten(struct job_stats *watch, int64_t ceiling_ms, int64_t reserve_ms,
		       bool postcopy)
{
	g_mutex_lock(&watch->lock);
	if (ceiling_ms <= 0) /* none */
		ceiling_ms = watch->rules.ceiling_ms;
	watch->tightened |=
		ceiling_ms < watch->rules.ceiling_ms || (watch->rules.ladder.postcopy && !postcopy);
	watch->rules.ceiling_ms = MIN(ceiling_ms, watch->rules.ceiling_ms);
	watch->rules.reserve_ms = reserve_ms;
	watch->rules.ladder.postcopy &= postcopy;
	g_mutex_unlock(&watch->lock);
}

bool job_stats_take_change(struct job_stats *watch, struct limit_change *change)
{
	g_mutex_lock(&watch->lock);
	g_autofree struct limit_change *first = g_queue_pop_head(&watch->changes);
	g_mutex_unlock(&watch->lock);
	if (first)
		*change = *first;
	return first != NULL;
}

bool job_stats_take_decision(struct job_stats *watch, struct ladder_decision *decision)
{
	g_mutex_lock(&watch->lock);
	g_autofree struct ladder_decision *first = g_queue_pop_head(&watch->decisions);
	g_mutex_unlock(&watch->lock);
	if (first)
		*decision = *first;
	return first != NULL;
}

int64_t job_stats_waiting_ms(struct job_stats *watch)
{
	g_mutex_lock(&watch->lock);
	int64_t asked_ms = watch->asked_ms;
	g_mutex_unlock(&watch->lock);
	return asked_ms ? clock_now_ms() - asked_ms : 0;
}

void job_stats_free(struct job_stats *watch)
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
	g_queue_clear_full(&watch->decisions, g_free);
	g_mutex_clear(&watch->lock);
	g_cond_clear(&watch->wake);
	g_free(watch);
}
