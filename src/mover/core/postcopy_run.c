/* SPDX-License-Identifier: Apache-2.0 */
/* What a mover does differently after the switch to post-copy. */
#include "mover/core/postcopy_run.h"

#include "base/clock.h"
#include "base/wait.h"

enum { FAREWELL_MS = 2000 };

bool transfer_is_farewell(struct transfer *transfer)
{
	if (!transfer_in_postcopy(transfer))
		return false;
	int64_t until_us = clock_now_us() + FAREWELL_MS * INT64_C(1000);
	pthread_mutex_lock(&transfer->lock);
	while (transfer->phase < TRANSFER_LOADED)
		if (!wait_cond_until(&transfer->changed, &transfer->lock, until_us))
			break;
	bool loaded = transfer->phase == TRANSFER_LOADED || transfer->phase == TRANSFER_RELEASED;
	pthread_mutex_unlock(&transfer->lock);
	return loaded;
}

bool transfer_in_postcopy(struct transfer *transfer)
{
	pthread_mutex_lock(&transfer->lock);
	bool begun = transfer->stream.switching || transfer->settings->recover;
	bool refused = transfer->phase == TRANSFER_REFUSED;
	pthread_mutex_unlock(&transfer->lock);
	return begun && !refused;
}

void transfer_expect_postcopy(struct transfer *transfer)
{
	watchdog_rest(transfer->watchdog); /* soon a dead mover would bring nobody back */
	if (transfer->link)
		link_set_timeout(transfer->link, POSTCOPY_DARK_MS);
}

/* At the destination the VM may run once the package is written, which is now. */
static bool may_run_there(const struct transfer *transfer, const struct stream_stats *stats)
{
	if (stats->resumed)
		return true;
	return transfer->settings->role == MOVER_SOURCE ? stats->committed : stats->postcopy;
}

/* Once each: the conductor, or its end, may have set another time since. */
static void prepare_link(struct transfer *transfer, const struct stream_stats *stats)
{
	if (!transfer->switch_noted)
		transfer_expect_postcopy(transfer);
	transfer->switch_noted = true;
	if (!transfer->hurried && may_run_there(transfer, stats) && transfer->link) {
		link_hurry(transfer->link); /* the guest waits for what stands behind it */
		transfer->hurried = true;
	}
}

void transfer_note_postcopy(struct transfer *transfer, const struct stream_stats *stats)
{
	if (!stats->switching && !stats->resumed)
		return;
	prepare_link(transfer, stats);
	if (stats->switching)
		transfer_advance(transfer, TRANSFER_STOPPED);
	if (may_run_there(transfer, stats))
		transfer_advance(transfer, TRANSFER_POSTCOPY);
}
