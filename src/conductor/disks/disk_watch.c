/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's requests to its disks, and the copy that yields to them. See disk_watch.h. */
#include "conductor/disks/disk_watch.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/unit.h"
#include "control/messages.h"
#include "conductor/core/movers.h"

enum { LOOK_MS = 500, PARAMS_MAX = 16 };

struct disk_watch {
	/* set once */
	struct move *move;
	virDomainPtr domain;
	GThread *thread;
	/* the main thread's */
	struct disk_yield yield;
	bool begun, told;
	/* under lock */
	GMutex lock;
	GCond wake;
	bool stop, fresh;
	struct disk_yield_look look;
};

/* ---- asking ---- */

static uint64_t number_of_block(virTypedParameterPtr params, int count, const char *name)
{
	long long value = 0;
	virTypedParamsGetLLong(params, count, name, &value);
	return (uint64_t) MAX(value, 0);
}

static bool ask_disk(virDomainPtr domain, const char *target, struct disk_yield_look *look)
{
	static const struct {
		const char *requests, *times;
	} kinds[] = {
		{ VIR_DOMAIN_BLOCK_STATS_READ_REQ, VIR_DOMAIN_BLOCK_STATS_READ_TOTAL_TIMES },
		{ VIR_DOMAIN_BLOCK_STATS_WRITE_REQ, VIR_DOMAIN_BLOCK_STATS_WRITE_TOTAL_TIMES },
		{ VIR_DOMAIN_BLOCK_STATS_FLUSH_REQ, VIR_DOMAIN_BLOCK_STATS_FLUSH_TOTAL_TIMES },
	};
	virTypedParameter params[PARAMS_MAX];
	int count = PARAMS_MAX;
	if (virDomainBlockStatsFlags(domain, target, params, &count, 0) < 0)
		return false;
	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
		look->operations += number_of_block(params, count, kinds[i].requests);
		look->busy_ns += number_of_block(params, count, kinds[i].times);
	}
	virTypedParamsClear(params, count);
	return true;
}

bool disk_watch_ask(virDomainPtr domain, GPtrArray *disks, struct disk_yield_look *look)
{
	struct disk_yield_look sum = { .at_us = clock_now_us() };
	*look = (struct disk_yield_look){ 0 };
	for (guint i = 0; i < disks->len; i++) {
		const struct move_disk *disk = disks->pdata[i];
		if (disk->kind == MOVE_DISK_COPIED && !ask_disk(domain, disk->disk->target, &sum))
			return false;
	}
	*look = sum;
	return true;
}

static gpointer disk_watch_thread(gpointer data)
{
	struct disk_watch *watch = data;
	g_mutex_lock(&watch->lock);
	while (!watch->stop) {
		struct disk_yield_look look;
		g_mutex_unlock(&watch->lock);
		bool known = disk_watch_ask(watch->domain, watch->move->report->disks, &look);
		g_mutex_lock(&watch->lock);
		watch->look = known ? look : watch->look;
		watch->fresh |= known;
		gint64 until = g_get_monotonic_time() + LOOK_MS * 1000;
		while (!watch->stop && g_cond_wait_until(&watch->wake, &watch->lock, until))
			;
	}
	g_mutex_unlock(&watch->lock);
	return NULL;
}

/* ---- the rate ---- */

static void set_rate(struct disk_watch *watch, uint64_t rate)
{
	JsonObject *limits = dialogue_message(MESSAGE_LIMITS);
	json_object_set_int_member(limits, "disk_rate", (gint64) rate);
	movers_tell(watch->move, MOVE_SOURCE, limits);
}

static uint64_t sum_copied(struct move *move)
{
	GPtrArray *disks = move->report->disks;
	uint64_t copied = 0;
	for (guint i = 0; i < disks->len; i++)
		copied += ((const struct move_disk *) disks->pdata[i])->written;
	return copied;
}

static void note_latency(struct disk_watch *watch)
{
	if (watch->told || watch->yield.rate == watch->yield.cap)
		return;
	watch->told = true;
	move_note(watch->move, false, "%s",
		  _("The copy of the disks takes its time, so that the VM's own use of them "
		    "does not take more than double."));
}

void disk_watch_tick(struct disk_watch *watch, bool copying)
{
	struct disk_yield_look look;
	if (!watch)
		return;
	g_mutex_lock(&watch->lock);
	bool fresh = watch->fresh;
	look = watch->look;
	watch->fresh = false;
	g_mutex_unlock(&watch->lock);
	look.copied = sum_copied(watch->move);
	if (fresh && !watch->begun) {
		disk_yield_init(&watch->yield, watch->move->request->disk_bandwidth,
				&watch->move->disks_before, &look);
		watch->begun = true;
	} else if (fresh && copying && disk_yield_look(&watch->yield, &look)) {
		set_rate(watch, watch->yield.rate);
		note_latency(watch);
	} else if (watch->begun && !copying && watch->yield.rate != watch->yield.cap) {
		watch->yield.rate = watch->yield.cap;
		set_rate(watch, watch->yield.cap);
	}
}

/* ---- life ---- */

struct disk_watch *disk_watch_new(struct move *move)
{
	/* A guest whose writes wait for the copy would only wait longer. */
	if (!move->disks_socket || move->sync_writes || move->paused_before)
		return NULL;
	struct disk_watch *watch = g_new0(struct disk_watch, 1);
	watch->move = move;
	watch->domain = move->domain;
	virDomainRef(watch->domain);
	g_mutex_init(&watch->lock);
	g_cond_init(&watch->wake);
	watch->thread = g_thread_new("disk-watch", disk_watch_thread, watch);
	return watch;
}

void disk_watch_free(struct disk_watch *watch)
{
	if (!watch)
		return;
	g_mutex_lock(&watch->lock);
	watch->stop = true;
	g_cond_signal(&watch->wake);
	g_mutex_unlock(&watch->lock);
	g_thread_join(watch->thread);
	virDomainFree(watch->domain);
	g_mutex_clear(&watch->lock);
	g_cond_clear(&watch->wake);
	g_free(watch);
}
