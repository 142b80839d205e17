/* SPDX-License-Identifier: Apache-2.0 */
/* The progress of libvirt's migration: disks first, then memory. */
#include "conductor/disks/disk_watch.h"
#include "conductor/live/performing.h"
#include "conductor/live/ladder_decisions.h"

#include "base/clock.h"
#include "base/i18n.h"

static const double disk_rate_weight = 0.2; /* of each look */

/* Before the memory's turn only disks are copied. */
static void show_disks(struct performing *performing, const struct job_stats_numbers *numbers)
{
	struct move_progress *progress = &performing->move->progress;
	double elapsed_s = (double) (numbers->at_us - performing->disks_us) / 1e6;
	double done = (double) numbers->disk_done;
	if (performing->disks_us && elapsed_s > 0)
		performing->disk_rate += ((done - (double) progress->disk_done) / elapsed_s -
					  performing->disk_rate) *
					 disk_rate_weight;
	performing->disks_us = numbers->at_us;
	progress->disk_done = numbers->disk_done;
	progress->disk_total = numbers->disk_total;
	progress->rate = MAX(performing->disk_rate, 0);
	double left = (double) numbers->disk_total - done;
	progress->left_ms =
		progress->rate > 0 && left >= 0 ? (int64_t) (left / progress->rate * 1000) : -1;
	int64_t patience_ms = DISK_TREND_PATIENCE_MS + performing->move->request->link_timeout_ms;
	performing->disks_hopeless = disk_trend_is_hopeless(
		&performing->disk_trend, (uint64_t) MAX(left, 0), numbers->at_us, patience_ms);
	move_show_progress(performing->move);
}

/* Until QEMU's numbers say how long it takes, the forecast does. */
static int64_t left_by_forecast(const struct move *move)
{
	if (!move->forecast || move->stopped || move->still)
		return -1;
	int64_t elapsed_ms = (clock_now_us() - move->started_us) / 1000;
	int64_t left_ms = (int64_t) move->forecast->total_ms.p50 - elapsed_ms;
	return left_ms > 0 ? left_ms : -1;
}

void perform_show(struct performing *performing)
{
	struct move *move = performing->move;
	struct move_progress *progress = &move->progress;
	struct job_stats_numbers numbers;
	job_stats_set_link(performing->watch, &move->link);
	job_stats_get(performing->watch, &numbers);
	if (numbers.disks_only)
		show_disks(performing, &numbers);
	else if (!numbers.total)
		progress->left_ms = left_by_forecast(move);
	if (!numbers.total)
		disk_watch_tick(performing->disk_watch, true);
	if (!numbers.total)
		return;
	disk_watch_tick(performing->disk_watch, false);
	bool begins = progress->disk_total > 0;
	progress->disk_total = progress->disk_done = 0;
	if (begins && !move->stopped && !move->still)
		move_say(move, _("copying memory"));
	ladder_decisions_note_throttle(move, numbers.throttle);
	progress->asked_us = numbers.at_us;
	progress->remaining = numbers.remaining;
	progress->total = numbers.total;
	progress->dirty_rate = numbers.dirty_rate;
	if (numbers.iteration > progress->iteration)
		progress->iteration = numbers.iteration;
	double gain = progress->rate - numbers.dirty_rate;
	progress->left_ms = -1;
	if (!move->stopped && gain > 0)
		progress->left_ms = (int64_t) ((double) numbers.remaining / gain * 1000);
	else if (progress->iteration <= 1)
		progress->left_ms = left_by_forecast(move);
}
