/* SPDX-License-Identifier: Apache-2.0 */
/* References to blocks that were not, ahead of their turn, what they should be: one of a disk that moves along
 * is read again in order, when everything before it is written; one of a seed, which may have changed,
 * is asked for. */
#include "mover/disks/disk_destination_internal.h"

#include "base/error.h"
#include "base/i18n.h"
#include "content/seed_pages.h"

#include <string.h>

#define ANSWER_MS 60000

/* What of a batch is to be asked for. */
struct asking {
	struct item *items[BATCH_DISK_BLOCKS];
	uint64_t numbers[BATCH_DISK_BLOCKS];
	unsigned count;
};

void disk_destination_fetch(struct disk_destination *destination, struct batch *batch,
			    struct tag_context *pages)
{
	if (destination)
		disk_fetch_batch(destination->fetch, batch, pages);
}

static uint8_t *data_of(const struct item *item)
{
	return (uint8_t *) (uintptr_t) item->data; /* it lies in the batch */
}

static bool read_again(struct disk_destination *destination, struct item *item)
{
	g_autoptr(GError) error = NULL;
	uint32_t disk;
	uint64_t block;
	if (!destination->open || !disk_fetch_find(destination->fetch, item->place, &disk, &block))
		return disk_destination_refuse_order(destination);
	pthread_mutex_lock(&destination->lock);
	bool good = disk_writer_read(destination->writers[disk], block * BATCH_DISK_BLOCK,
				     data_of(item), BATCH_DISK_BLOCK, &error);
	pthread_mutex_unlock(&destination->lock);
	item->length = BATCH_DISK_BLOCK;
	return good || disk_destination_refuse(destination, error);
}

/* ---- asking ---- */

static bool send_question(struct disk_destination *destination, const struct asking *asking,
			  GError **error)
{
	struct link *link = destination->transfer->link;
	struct link_frame *frame = link_frame_begin(link, LINK_DISK, error);
	if (!frame)
		return false;
	frame->flags = DISK_ASK;
	disk_put_u64(frame->data, 0);
	frame->length = DISK_ANSWER_BYTES;
	for (unsigned i = 0; i < asking->count; i++, frame->length += 8)
		disk_put_u64(frame->data + frame->length, asking->numbers[i]);
	link_frame_commit(link, LINK_DISK, frame);
	return true;
}

static bool take_pages(const struct asking *asking, const struct link_frame *frame)
{
	if (frame->flags != DISK_PAGES ||
	    frame->length != DISK_ANSWER_BYTES + (size_t) asking->count * SEED_PAGE_BYTES)
		return false;
	for (unsigned i = 0; i < asking->count; i++) {
		memcpy(data_of(asking->items[i]),
		       frame->data + DISK_ANSWER_BYTES + (size_t) i * SEED_PAGE_BYTES,
		       SEED_PAGE_BYTES);
		asking->items[i]->length = BATCH_DISK_BLOCK;
	}
	return true;
}

static bool ask_for_block(struct disk_destination *destination, const struct asking *asking)
{
	g_autoptr(GError) error = NULL;
	struct transfer *transfer = destination->transfer;
	struct link_frame *frame = NULL;
	if (send_question(destination, asking, &error))
		frame = link_receive(transfer->link, LINK_DISK, ANSWER_MS, NULL, &error);
	bool good = frame && take_pages(asking, frame);
	if (frame)
		link_frame_done(transfer->link, LINK_DISK, frame);
	if (good)
		return true;
	if (!error)
		error_set(&error, WATARI_ERROR_INTERNAL, NULL,
			  _("the source mover does not send the pages that were asked for"));
	transfer_refuse_error(transfer, "link", error);
	return false;
}

/* ---- a batch ---- */

static bool settle_item(struct disk_destination *destination, struct item *item,
			struct asking *asking)
{
	bool seed = disk_fetch_is_seed(item->place);
	uint64_t number = destination->seed_pages;
	destination->seed_pages += seed;
	if (item->length)
		return true;
	if (!item->data)
		return disk_destination_refuse_order(destination);
	if (!seed)
		return read_again(destination, item);
	asking->items[asking->count] = item;
	asking->numbers[asking->count++] = number;
	return true;
}

bool disk_destination_settle(struct disk_destination *destination, struct batch *batch)
{
	struct asking asking = { .count = 0 };
	for (uint32_t i = 0; destination && i < batch->count; i++)
		if (batch->items[i].kind == ITEM_DISK &&
		    !settle_item(destination, &batch->items[i], &asking))
			return false;
	return asking.count == 0 || ask_for_block(destination, &asking);
}
