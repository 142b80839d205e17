/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's writes before the copy. See disk_rate.h. */
#include "journey/disks/disk_rate.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/unit.h"

enum { MEASURE_MS = 1200 };
/* Of the cap: the rest is for the copy itself, or it never ends. */
static const double bearable = 0.5;

static uint64_t written(struct journey *journey)
{
	GPtrArray *disks = journey->report->disks;
	uint64_t bytes = 0;
	for (guint i = 0; i < disks->len; i++) {
		const struct journey_disk *disk = disks->pdata[i];
		virDomainBlockStatsStruct stats = { .wr_bytes = 0 };
		if (disk->kind == JOURNEY_DISK_COPIED &&
		    virDomainBlockStats(journey->domain, disk->disk->target, &stats,
					sizeof stats) == 0 &&
		    stats.wr_bytes > 0)
			bytes += (uint64_t) stats.wr_bytes;
	}
	return bytes;
}

/* Of the two the lower; 0: none. */
static uint64_t cap_of(const struct journey_request *request)
{
	uint64_t cap = request->bandwidth;
	if (request->disk_bandwidth && (!cap || request->disk_bandwidth < cap))
		cap = request->disk_bandwidth;
	return cap;
}

void disk_rate_begin(struct journey *journey, struct disk_rate *rate)
{
	*rate = (struct disk_rate){ .start_us = 0 };
	if (journey->offline || !cap_of(journey->request))
		return;
	rate->start_us = clock_now_us();
	rate->before = written(journey);
}

double disk_rate_end(struct journey *journey, const struct disk_rate *rate)
{
	if (!rate->start_us)
		return 0;
	int64_t left_us = rate->start_us + MEASURE_MS * 1000 - clock_now_us();
	if (left_us > 0)
		g_usleep((gulong) left_us);
	uint64_t after = written(journey);
	double elapsed_s = (double) (clock_now_us() - rate->start_us) / 1e6;
	return after > rate->before ? (double) (after - rate->before) / elapsed_s : 0;
}

void disk_rate_decide(struct journey *journey, double rate)
{
	uint64_t cap = cap_of(journey->request);
	journey->sync_writes = cap > 0 && rate > (double) cap * bearable;
	if (!journey->sync_writes)
		return;
	g_autofree char *writes = unit_format_rate(rate), *most = unit_format_rate((double) cap);
	journey_note(journey, true,
		     _("The VM writes %s to its disks, and %s are allowed: until the move is "
		       "over, each of its writes waits for the destination, or the copy would "
		       "never end."),
		     writes, most);
}
