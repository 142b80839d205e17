/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's own view of time and order.
 *
 * A real-time thread wakes every ten milliseconds (or spins, on command) and notes the longest time
 * between two wakes as its monotonic clock has it, and by how much the wall clock stepped against
 * it. Where the hypervisor stops the guest's clock while the guest is stopped, that time is missing
 * here; that is a finding too.
 *
 * Counters are kept twice, on pages far apart, the second as complement: a page that came back
 * older breaks the pair, and a counter below what the watch saw last has gone back.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guestd.h"

#define STEP_NS 10000000 /* a wall clock step of less than this is ordinary adjustment */

struct ledger {
	_Alignas(PAGE_BYTES) uint64_t value[COUNTERS];
	uint64_t rest_of_page[PAGE_BYTES / 8 - COUNTERS];
};

static struct {
	struct ledger plain;      /* under lock */
	struct ledger complement; /* under lock */
	pthread_mutex_t lock;
	uint64_t seen[COUNTERS]; /* under lock */
	uint64_t begun_ns;       /* set once */
	/* under lock */
	uint64_t longest_ns;
	uint64_t longest_at_ns;
	uint64_t wall_steps;
	int64_t wall_step_ns; /* the largest, with its sign */
	uint64_t errors;
	char first_error[160];
	_Atomic bool spin;
	uint64_t period_ns; /* set once */
} watch = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
};

static const char *const counter_names[] = {
	"ticks",      "dirtied pages", "dirtied bytes", "checked pages", "disk writes",
	"disk reads", "UDP echoes",    "TCP lines",     "HTTP requests",
};

_Static_assert(sizeof(counter_names) / sizeof(counter_names[0]) == COUNTERS,
	       "every counter has a name");

void count(enum counter counter, uint64_t amount)
{
	pthread_mutex_lock(&watch.lock);
	watch.plain.value[counter] += amount;
	watch.complement.value[counter] = ~(~watch.complement.value[counter] + amount);
	pthread_mutex_unlock(&watch.lock);
}

uint64_t counted(enum counter counter)
{
	uint64_t value;

	pthread_mutex_lock(&watch.lock);
	value = watch.plain.value[counter];
	pthread_mutex_unlock(&watch.lock);
	return value;
}

/* Called with the lock held. */
static void watch_wrong(const char *what, const char *wrong)
{
	watch.errors++;
	if (watch.first_error[0])
		return;
	snprintf(watch.first_error, sizeof(watch.first_error), "%s %s", what, wrong);
	say("WRONG %s", watch.first_error);
}

static void watch_counters(void)
{
	for (size_t i = 0; i < COUNTERS; i++) {
		uint64_t value = watch.plain.value[i];

		if (value != ~watch.complement.value[i])
			watch_wrong(counter_names[i], "counter: its two copies differ");
		else if (value < watch.seen[i])
			watch_wrong(counter_names[i], "counter: went back");
		watch.seen[i] = value;
	}
}

static void watch_wall(int64_t step)
{
	if (step > -STEP_NS && step < STEP_NS)
		return;
	watch.wall_steps++;
	if (llabs(step) > llabs(watch.wall_step_ns))
		watch.wall_step_ns = step;
}

static void watch_main(void *arg)
{
	uint64_t last = now_ns(CLOCK_MONOTONIC);
	int64_t offset = (int64_t) (now_ns(CLOCK_REALTIME) - last);

	for (;;) {
		uint64_t now;
		int64_t new_offset;

		if (!atomic_load(&watch.spin))
			sleep_until_ns(last + watch.period_ns);
		now = now_ns(CLOCK_MONOTONIC);
		new_offset = (int64_t) (now_ns(CLOCK_REALTIME) - now);
		count(COUNT_TICKS, 1);
		pthread_mutex_lock(&watch.lock);
		if (now < last)
			watch_wrong("monotonic clock", "went back");
		else if (now - last > watch.longest_ns) {
			watch.longest_ns = now - last;
			watch.longest_at_ns = now;
		}
		watch_wall(new_offset - offset);
		watch_counters();
		pthread_mutex_unlock(&watch.lock);
		last = now;
		offset = new_offset;
	}
}

void watch_set(const char *query)
{
	atomic_store(&watch.spin, query_number(query, "spin", atomic_load(&watch.spin)));
	if (!query_number(query, "reset", 0))
		return;
	pthread_mutex_lock(&watch.lock);
	watch.longest_ns = 0;
	watch.wall_steps = 0;
	watch.wall_step_ns = 0;
	pthread_mutex_unlock(&watch.lock);
}

void watch_describe(struct text *json)
{
	pthread_mutex_lock(&watch.lock);
	text_add(json,
		 "{\"uptime_ms\":%llu,\"ticks\":%llu,\"period_us\":%llu,\"spin\":%s,\"longest_gap_"
		 "us\":%llu,"
		 "\"longest_gap_at_ms\":%llu,\"wall_steps\":%llu,\"largest_wall_step_ms\":%lld,"
		 "\"errors\":%llu,"
		 "\"first_error\":\"%s\"}",
		 (unsigned long long) (now_ns(CLOCK_MONOTONIC) / 1000000),
		 (unsigned long long) watch.plain.value[COUNT_TICKS],
		 (unsigned long long) watch.period_ns / 1000,
		 atomic_load(&watch.spin) ? "true" : "false",
		 (unsigned long long) watch.longest_ns / 1000,
		 (unsigned long long) watch.longest_at_ns / 1000000,
		 (unsigned long long) watch.wall_steps, (long long) watch.wall_step_ns / 1000000,
		 (unsigned long long) watch.errors, watch.first_error);
	pthread_mutex_unlock(&watch.lock);
}

uint64_t watch_errors(char *error, size_t size)
{
	uint64_t errors;

	pthread_mutex_lock(&watch.lock);
	errors = watch.errors;
	if (!error[0])
		snprintf(error, size, "%s", watch.first_error);
	pthread_mutex_unlock(&watch.lock);
	return errors;
}

void watch_start(void)
{
	watch.begun_ns = now_ns(CLOCK_MONOTONIC);
	watch.period_ns = option_number("tick_us", 10000) * 1000;
	for (size_t i = 0; i < COUNTERS; i++)
		watch.complement.value[i] = ~watch.plain.value[i];
	thread_start(watch_main, NULL, 10);
}
