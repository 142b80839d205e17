/* SPDX-License-Identifier: Apache-2.0 */
/* Stops reading QEMU's stream in the first pass of a rehearsal. */
#include "mover/rehearse_hold.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"
#include "control/messages.h"
#include "mover/disks/disk_rehearse_hold.h"
#include "mover/core/guest_memory.h"
#include "mover/pages_left.h"

#include <string.h>

enum {
	PAGE = 4096,
	LEFT_SHARE = 16, /* of the memory */
	LEFT_LEAST = 2048,
	LEFT_MOST = 16384,
	TOO_FEW = 512, /* pages that hold something: no place is safe */
};

struct rehearse_hold {
	struct transfer *transfer;
	bool known;           /* the place */
	uint64_t block_bytes; /* the largest block, */
	uint64_t offset;      /* and where in it */
	uint64_t left;        /* pages behind it that hold something */
	bool reached;
	int64_t begin_us;     /* of the first batch of pages */
	uint64_t wire_before; /* a probe's, and the disks' */
	uint64_t wire_disks;
};

struct rehearse_hold *rehearse_hold_new(struct transfer *transfer)
{
	if (!transfer->settings->rehearse)
		return NULL;
	struct rehearse_hold *rehearse_hold = g_new0(struct rehearse_hold, 1);
	rehearse_hold->transfer = transfer;
	return rehearse_hold;
}

void rehearse_hold_free(struct rehearse_hold *rehearse_hold)
{
	g_free(rehearse_hold);
}

/* ---- the place ---- */

static bool is_hold_enough(uint64_t pages, GError **error)
{
	return pages >= TOO_FEW ||
	       error_set(error, WATARI_ERROR_INTERNAL, NULL,
			 _("the VM has too little in its memory for a rehearsal: the copy would be "
			   "at its end before it could be held"));
}

static bool find_hold_place(struct rehearse_hold *rehearse_hold, GError **error)
{
	const struct mover_setup *settings = rehearse_hold->transfer->settings;
	uint64_t wanted =
		CLAMP(rehearse_hold->block_bytes / PAGE / LEFT_SHARE, LEFT_LEAST, LEFT_MOST);
	int pid = guest_memory_find_qemu(settings->vm_name, settings->vm_uuid, error);
	return pid > 0 &&
	       pages_left_find(pid, rehearse_hold->block_bytes, wanted, &rehearse_hold->offset,
			       &rehearse_hold->left, error) &&
	       is_hold_enough(rehearse_hold->left, error);
}

bool rehearse_hold_may_begin(const struct mover_setup *settings, int pid, GError **error)
{
	uint64_t offset, found;
	return !settings->rehearse || pid <= 0 ||
	       (pages_left_find(pid, 0, TOO_FEW, &offset, &found, error) &&
		is_hold_enough(found, error));
}

static void learn_place(struct rehearse_hold *rehearse_hold, const struct stream_reader *stream)
{
	g_autoptr(GError) error = NULL;
	const struct stream_block *block;
	for (uint32_t i = 0; (block = stream_reader_block(stream, i)); i++)
		rehearse_hold->block_bytes = MAX(rehearse_hold->block_bytes, block->used_bytes);
	rehearse_hold->known = true;
	if (!find_hold_place(rehearse_hold, &error))
		transfer_refuse_error(rehearse_hold->transfer, "rehearsal", error);
}

/* ---- on the way ---- */

static bool is_behind(const struct rehearse_hold *rehearse_hold, const struct item *item,
		      const struct stream_reader *stream)
{
	const struct stream_block *block = stream_reader_block(stream, item->block);
	return block && block->used_bytes == rehearse_hold->block_bytes &&
	       (item->page + item->count) * PAGE >= rehearse_hold->offset;
}

static bool has_sent_enough(const struct rehearse_hold *rehearse_hold)
{
	struct link_stats stats;
	uint64_t most = rehearse_hold->transfer->settings->rehearse_bytes;
	if (g_atomic_int_get(&rehearse_hold->transfer->settings->rehearse_now))
		return true;
	if (!most)
		return false;
	link_get_stats(rehearse_hold->transfer->link, &stats);
	return stats.wire_sent - rehearse_hold->wire_before + rehearse_hold->wire_disks >= most;
}

static void begin_hold(struct rehearse_hold *rehearse_hold)
{
	struct link_stats stats;
	link_get_stats(rehearse_hold->transfer->link, &stats);
	rehearse_hold->wire_before = stats.wire_sent;
	rehearse_hold->wire_disks = disk_rehearse_hold_wire(rehearse_hold->transfer->disk_source);
	rehearse_hold->begin_us = clock_now_us();
}

void rehearse_hold_note(struct rehearse_hold *rehearse_hold, const struct batch *batch,
			const struct stream_reader *stream)
{
	if (!rehearse_hold)
		return;
	if (!rehearse_hold->begin_us)
		begin_hold(rehearse_hold);
	if (batch->has_blocks) {
		learn_place(rehearse_hold, stream);
		rehearse_hold->begin_us = clock_now_us(); /* a move looks for no place */
	}
	/* Neither a stream that is not understood nor a second pass may go on. */
	rehearse_hold->reached |= stream_reader_opaque_reason(stream) ||
				  stream_reader_stats(stream)->iterations > 1 ||
				  has_sent_enough(rehearse_hold);
	for (uint32_t i = 0; rehearse_hold->known && i < batch->count && !rehearse_hold->reached;
	     i++)
		if (batch->items[i].kind != ITEM_BYTES)
			rehearse_hold->reached = is_behind(rehearse_hold, &batch->items[i], stream);
}

static JsonObject *describe_held(struct rehearse_hold *rehearse_hold)
{
	struct transfer *transfer = rehearse_hold->transfer;
	struct link_stats link;
	JsonObject *extra = json_object_new();
	link_get_stats(transfer->link, &link);
	pthread_mutex_lock(&transfer->lock);
	json_object_set_int_member(extra, "normal", (gint64) transfer->stream.records[STREAM_PAGE]);
	json_object_set_int_member(extra, "zero",
				   (gint64) transfer->stream.records[STREAM_ZERO_PAGE]);
	json_object_set_int_member(extra, "encoded", (gint64) transfer->content.encoded_bytes);
	pthread_mutex_unlock(&transfer->lock);
	json_object_set_int_member(extra, "left", (gint64) rehearse_hold->left);
	json_object_set_int_member(extra, "ms", (clock_now_us() - rehearse_hold->begin_us) / 1000);
	json_object_set_int_member(extra, "wire",
				   (gint64) (link.wire_sent - rehearse_hold->wire_before));
	return extra;
}

void rehearse_hold_here(struct rehearse_hold *rehearse_hold)
{
	if (!rehearse_hold || !rehearse_hold->reached)
		return;
	struct transfer *transfer = rehearse_hold->transfer;
	transfer_wait_arrived(transfer, INT64_MAX);
	transfer_post(transfer, EVENT_DWELLING, describe_held(rehearse_hold));
	pthread_mutex_lock(&transfer->lock);
	while (transfer->phase != TRANSFER_REFUSED)
		pthread_cond_wait(&transfer->changed, &transfer->lock);
	pthread_mutex_unlock(&transfer->lock);
}
