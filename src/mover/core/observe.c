/* SPDX-License-Identifier: Apache-2.0 */
/* Puts what the stream reader sees into the transfer. */
#include "mover/core/observe.h"

#include "mover/core/postcopy_run.h"
#include "control/messages.h"

#include <string.h>

struct observer {
	struct transfer *transfer;
	struct stream_reader *reader;
};

struct observer *observer_new(struct transfer *transfer)
{
	struct observer *observer = g_new0(struct observer, 1);
	observer->transfer = transfer;
	observer->reader = stream_reader_new();
#ifdef WATARI_FAULTS
	/* Another magic number: everything that follows is unknown, and must pass all the same. */
	static const uint8_t unknown[8] = "UNKNOWN";
	struct stream_record record;
	if (transfer->settings->faults & MOVER_FAULT_UNKNOWN) {
		stream_reader_feed(observer->reader, unknown, sizeof(unknown));
		while (stream_reader_next(observer->reader, &record))
			continue;
	}
#endif
	return observer;
}

void observer_free(struct observer *observer)
{
	stream_reader_free(observer->reader);
	g_free(observer);
}

struct stream_reader *observer_reader(struct observer *observer)
{
	return observer->reader;
}

/* The table of RAM blocks, kept for the memory proof at the gate. */
static void copy_blocks(struct observer *observer)
{
	struct transfer *transfer = observer->transfer;
	uint32_t count = 0;
	while (stream_reader_block(observer->reader, count))
		count++;
	struct stream_block *blocks = g_new0(struct stream_block, MAX(count, 1));
	for (uint32_t i = 0; i < count; i++)
		blocks[i] = *stream_reader_block(observer->reader, i);
	pthread_mutex_lock(&transfer->lock);
	g_free(transfer->blocks);
	transfer->blocks = blocks;
	transfer->block_count = count;
	pthread_mutex_unlock(&transfer->lock);
}

static void tell_run(struct observer *observer)
{
	struct transfer *transfer = observer->transfer;
	const struct stream_stats *stats = stream_reader_stats(observer->reader);
	const char *reason = stream_reader_opaque_reason(observer->reader);
	pthread_mutex_lock(&transfer->lock);
	transfer->stream = *stats;
	bool news = reason && !transfer->opaque_reason;
	if (news)
		transfer->opaque_reason = g_strdup(reason);
	pthread_mutex_unlock(&transfer->lock);
	if (news) {
		JsonObject *extra = json_object_new();
		json_object_set_string_member(extra, "reason", reason);
		transfer_post(transfer, EVENT_OPAQUE, extra);
	}
	transfer_note_postcopy(transfer, stats);
	if (stats->stopped)
		transfer_advance(transfer, TRANSFER_STOPPED);
}

void observer_read(struct observer *observer, struct batch *batch)
{
	batch_read(batch, observer->reader);
	if (batch->has_blocks)
		copy_blocks(observer);
	tell_run(observer);
}

void observer_see(struct observer *observer, const uint8_t *data, size_t length)
{
	struct stream_record record;
	bool blocks = false;
	stream_reader_feed(observer->reader, data, length);
	while (stream_reader_next(observer->reader, &record))
		blocks |= record.kind == STREAM_BLOCK_LIST;
	if (blocks)
		copy_blocks(observer);
	tell_run(observer);
}
