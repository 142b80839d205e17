/* SPDX-License-Identifier: Apache-2.0 */
#include "mover/postcopy_run.h"

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
