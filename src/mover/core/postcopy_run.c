/* SPDX-License-Identifier: Apache-2.0 */
#include "mover/core/postcopy_run.h"

#include "base/clock.h"
#include "base/wait.h"

enum { FAREWELL_MS = 2000 };

bool run_is_farewell(struct run *run)
{
	if (!run_in_postcopy(run))
		return false;
	int64_t until_us = clock_now_us() + FAREWELL_MS * INT64_C(1000);
	pthread_mutex_lock(&run->lock);
	while (run->phase < RUN_LOADED)
		if (!wait_cond_until(&run->changed, &run->lock, until_us))
			break;
	bool loaded = run->phase == RUN_LOADED || run->phase == RUN_RELEASED;
	pthread_mutex_unlock(&run->lock);
	return loaded;
}

bool run_in_postcopy(struct run *run)
{
	pthread_mutex_lock(&run->lock);
	bool begun = run->stream.switching || run->settings->recover;
	bool refused = run->phase == RUN_REFUSED;
	pthread_mutex_unlock(&run->lock);
	return begun && !refused;
}

void run_expect_postcopy(struct run *run)
{
	watchdog_rest(run->watchdog); /* soon a dead mover would bring nobody back */
	if (run->link)
		link_set_timeout(run->link, POSTCOPY_DARK_MS);
}

/* At the destination the VM may run once the package is written, which is now. */
static bool may_run_there(const struct run *run, const struct stream_stats *stats)
{
	if (stats->resumed)
		return true;
	return run->settings->role == MOVER_SOURCE ? stats->committed : stats->postcopy;
}

/* Once each: the conductor, or its end, may have set another time since. */
static void prepare_link(struct run *run, const struct stream_stats *stats)
{
	if (!run->switch_noted)
		run_expect_postcopy(run);
	run->switch_noted = true;
	if (!run->hurried && may_run_there(run, stats) && run->link) {
		link_hurry(run->link); /* the guest waits for what stands behind it */
		run->hurried = true;
	}
}

void run_note_postcopy(struct run *run, const struct stream_stats *stats)
{
	if (!stats->switching && !stats->resumed)
		return;
	prepare_link(run, stats);
	if (stats->switching)
		run_advance(run, RUN_STOPPED);
	if (may_run_there(run, stats))
		run_advance(run, RUN_POSTCOPY);
}
