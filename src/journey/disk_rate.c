/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's writes before the copy. See disk_rate.h. */
#include "journey/disk_rate.h"

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

double disk_rate_measure(struct journey *journey)
{
	int64_t start_us = clock_now_us();
	uint64_t before = written(journey);
	g_usleep(MEASURE_MS * 1000);
	uint64_t after = written(journey);
	double elapsed_s = (double) (clock_now_us() - start_us) / 1e6;
	return after > before ? (double) (after - before) / elapsed_s : 0;
}

void disk_rate_decide(struct journey *journey, double rate)
{
	uint64_t cap = journey->request->bandwidth;
	journey->sync_writes = cap > 0 && rate > (double) cap * bearable;
	if (!journey->sync_writes)
		return;
	g_autofree char *writes = unit_format_rate(rate), *most = unit_format_rate((double) cap);
	journey_note(
		journey, true,
		_("The VM writes %s to its disks, and --bandwidth allows %s: until the move is "
		  "over, each of its writes waits for the destination, or the copy would "
		  "never end."),
		writes, most);
}
