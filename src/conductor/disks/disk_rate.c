/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's writes before the move. See disk_rate.h. */
#include "conductor/disks/disk_rate.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/unit.h"

enum { LEAST_MS = 1200 };
/* Of the cap: the rest is for the copy itself, or it never ends. */
static const double bearable = 0.5;

/* Of all disks by one question: a move over a long way waits for the answer. */
static virDomainStatsRecordPtr *read_written_bytes(struct move *move)
{
	virDomainPtr domains[] = { move->domain, NULL };
	virDomainStatsRecordPtr *records = NULL;
	if (virDomainListGetStats(domains, VIR_DOMAIN_STATS_BLOCK, &records, 0) == 1)
		return records;
	virDomainStatsRecordListFree(records);
	return NULL;
}

/* By the guest, since its QEMU began; -1: not known, as of an empty drive. */
static int64_t written(const virDomainStatsRecord *record, const struct move_disk *disk)
{
	unsigned count = 0;
	virTypedParamsGetUInt(record->params, record->nparams, "block.count", &count);
	for (unsigned i = 0; i < count; i++) {
		char name[40], bytes[40];
		const char *target = "";
		unsigned long long value = 0;
		g_snprintf(name, sizeof name, "block.%u.name", i);
		g_snprintf(bytes, sizeof bytes, "block.%u.wr.bytes", i);
		virTypedParamsGetString(record->params, record->nparams, name, &target);
		if (g_strcmp0(target, disk->disk->target) == 0)
			return virTypedParamsGetULLong(record->params, record->nparams, bytes,
						       &value) == 1
				       ? (int64_t) value
				       : -1;
	}
	return -1;
}

/* Of the two the lower; 0: none. */
static uint64_t cap_of(const struct move_request *request)
{
	uint64_t cap = request->bandwidth;
	if (request->disk_bandwidth && (!cap || request->disk_bandwidth < cap))
		cap = request->disk_bandwidth;
	return cap;
}

void disk_rate_begin(struct move *move)
{
	GPtrArray *disks = move->report->disks;
	if (move->offline || !disks || disks->len == 0)
		return;
	virDomainStatsRecordPtr *records = read_written_bytes(move);
	if (!records)
		return;
	move->disk_rate_us = clock_now_us();
	for (guint i = 0; i < disks->len; i++) {
		struct move_disk *disk = disks->pdata[i];
		disk->written_before = written(records[0], disk);
	}
	virDomainStatsRecordListFree(records);
}

double disk_rate_until_now(struct move *move)
{
	GPtrArray *disks = move->report->disks;
	bool copies = move_disks_count(disks, MOVE_DISK_COPIED) > 0;
	virDomainStatsRecordPtr *records =
		move->disk_rate_us && copies ? read_written_bytes(move) : NULL;
	int64_t elapsed_us = clock_now_us() - move->disk_rate_us;
	double bytes = 0;
	if (!records)
		return 0;
	for (guint i = 0; i < disks->len; i++) {
		const struct move_disk *disk = disks->pdata[i];
		if (disk->kind == MOVE_DISK_COPIED && disk->written_before >= 0)
			bytes += (double) MAX(written(records[0], disk) - disk->written_before, 0);
	}
	virDomainStatsRecordListFree(records);
	return elapsed_us > 0 ? bytes / (double) elapsed_us * 1e6 : 0;
}

double disk_rate_under_cap(struct move *move)
{
	if (!move->disk_rate_us || !cap_of(move->request))
		return 0;
	int64_t left_us = move->disk_rate_us + LEAST_MS * 1000 - clock_now_us();
	if (left_us > 0)
		g_usleep((gulong) left_us);
	return disk_rate_until_now(move);
}

void disk_rate_decide(struct move *move, double rate)
{
	uint64_t cap = cap_of(move->request);
	move->sync_writes = cap > 0 && rate > (double) cap * bearable;
	if (!move->sync_writes)
		return;
	g_autofree char *writes = unit_format_rate(rate), *most = unit_format_rate((double) cap);
	move_note(move, true,
		  _("The VM writes %s to its disks, and %s are allowed: until the move is "
		    "over, each of its writes waits for the destination, or the copy would "
		    "never end."),
		  writes, most);
}
