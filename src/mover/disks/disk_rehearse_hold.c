/* SPDX-License-Identifier: Apache-2.0 */
/* Holds the writes to disks in a rehearsal. */
#include "mover/disks/disk_source_internal.h"

#include "base/clock.h"
#include "control/messages.h"

enum {
	HOLD_US = 10 * 1000 * 1000, /* then the mirrors get an error: nobody has ended them */
	ARRIVED_US = 2 * 1000 * 1000,
};

static uint64_t wire_sent(struct disk_source *source)
{
	struct link_stats stats;
	link_get_stats(source->transfer->link, &stats);
	return stats.wire_sent;
}

/* With the lock held. WIRE: as it is now. */
static bool is_enough(const struct disk_source *source, uint64_t length, uint64_t wire)
{
	struct mover_setup *settings = source->transfer->settings;
	const struct disk_rehearse_hold *rehearse_hold = &source->rehearse_hold;
	uint64_t bytes = settings->rehearse_disk_bytes, most = settings->rehearse_disk_wire;
	return g_atomic_int_get(&settings->rehearse_disks_now) ||
	       (bytes && rehearse_hold->bytes + length > bytes) ||
	       (most && wire - rehearse_hold->wire_before >= most);
}

/* With the lock held. */
static JsonObject *describe_held_disks(const struct disk_rehearse_hold *rehearse_hold,
				       uint64_t wire, int64_t end_us)
{
	JsonObject *extra = json_object_new();
	bool any = rehearse_hold->begin_us != 0;
	json_object_set_int_member(extra, "bytes", (gint64) rehearse_hold->bytes);
	json_object_set_int_member(extra, "wire",
				   (gint64) (any ? wire - rehearse_hold->wire_before : 0));
	json_object_set_int_member(extra, "ms",
				   any ? (end_us - rehearse_hold->begin_us) / 1000 : 0);
	json_object_set_boolean_member(extra, "whole", !rehearse_hold->held_us);
	return extra;
}

static void tell_held_disks(struct disk_source *source)
{
	/* what is under way was not copied yet */
	transfer_wait_arrived(source->transfer, clock_now_us() + ARRIVED_US);
	uint64_t wire = wire_sent(source);
	pthread_mutex_lock(&source->lock);
	JsonObject *extra = describe_held_disks(&source->rehearse_hold, wire, clock_now_us());
	pthread_mutex_unlock(&source->lock);
	transfer_post(source->transfer, EVENT_DISKS_DWELLING, extra);
}

/* True: this is the one write that says so. */
static bool hold(struct disk_source *source, uint64_t length)
{
	struct disk_rehearse_hold *rehearse_hold = &source->rehearse_hold;
	bool memory = transfer_get_phase(source->transfer) != TRANSFER_SETUP;
	uint64_t wire = wire_sent(source);
	int64_t now_us = clock_now_us();
	pthread_mutex_lock(&source->lock);
	if (!rehearse_hold->begin_us) {
		rehearse_hold->begin_us = now_us;
		rehearse_hold->wire_before = wire;
	}
	if (!memory && !rehearse_hold->told && is_enough(source, length, wire))
		rehearse_hold->held_us = now_us;
	bool first = rehearse_hold->held_us && !rehearse_hold->told;
	rehearse_hold->told |= first;
	pthread_mutex_unlock(&source->lock);
	return first;
}

/* Until the move is over. */
static void stay(struct disk_source *source)
{
	pthread_mutex_lock(&source->lock);
	int64_t until_us = source->rehearse_hold.held_us + HOLD_US;
	while (!source->broken && clock_now_us() < until_us)
		disk_source_wait(source, until_us);
	pthread_mutex_unlock(&source->lock);
	disk_source_break(source);
}

bool disk_rehearse_hold_take(struct disk_source *source, uint64_t length)
{
	struct disk_rehearse_hold *rehearse_hold = &source->rehearse_hold;
	if (!source->transfer->settings->rehearse)
		return true;
	if (hold(source, length))
		tell_held_disks(source);
	pthread_mutex_lock(&source->lock);
	bool held = rehearse_hold->held_us != 0;
	if (!held) {
		rehearse_hold->bytes += length;
		rehearse_hold->last_us = clock_now_us();
	}
	pthread_mutex_unlock(&source->lock);
	if (held)
		stay(source);
	return !held;
}

void disk_rehearse_hold_whole(struct disk_source *source)
{
	if (!source || !source->transfer->settings->rehearse)
		return;
	uint64_t wire = wire_sent(source);
	pthread_mutex_lock(&source->lock);
	bool first = !source->rehearse_hold.told;
	source->rehearse_hold.told = true;
	JsonObject *extra = first ? describe_held_disks(&source->rehearse_hold, wire,
							source->rehearse_hold.last_us)
				  : NULL;
	pthread_mutex_unlock(&source->lock);
	if (first)
		transfer_post(source->transfer, EVENT_DISKS_DWELLING, extra);
}

uint64_t disk_rehearse_hold_wire(struct disk_source *source)
{
	if (!source)
		return 0;
	uint64_t wire = wire_sent(source);
	pthread_mutex_lock(&source->lock);
	bool any = source->rehearse_hold.begin_us != 0;
	uint64_t before = source->rehearse_hold.wire_before;
	pthread_mutex_unlock(&source->lock);
	return any ? wire - before : 0;
}
