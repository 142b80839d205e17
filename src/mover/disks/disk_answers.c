/* SPDX-License-Identifier: Apache-2.0 */
/* What the destination says about disks: answers to orders, and what it has. */
#include "mover/disks/disk_source_internal.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"
#include "control/messages.h"
#include "mover/pipeline/encoders.h"

#include <errno.h>
#include <string.h>

/* ---- the destination's answers ---- */

static struct waiting *find_waiting(struct disk_source *source, uint64_t number)
{
	for (guint i = 0; i < source->waiting->len; i++) {
		struct waiting *waiting = source->waiting->pdata[i];
		if (waiting->number == number)
			return waiting;
	}
	return NULL;
}

static bool take_open(struct disk_source *source, const uint8_t *data, size_t length)
{
	const struct disks *disks = source->transfer->disks;
	struct known_disk shapes[KNOWN_DISKS_MAX] = { 0 };
	if (length != (size_t) disks->count * 8)
		return false;
	pthread_mutex_lock(&source->transfer->sorting);
	for (unsigned i = 0; i < disks->count; i++) {
		shapes[i].bytes = disk_get_u64(data + 8 * (size_t) i);
		shapes[i].fresh = disks->disks[i].fresh;
		source->exports[i] =
			(struct nbd_export){ disks->disks[i].export, shapes[i].bytes, false };
	}
	sorter_set_disks(source->transfer->sorter, shapes, disks->count);
	pthread_mutex_unlock(&source->transfer->sorting);
	pthread_mutex_lock(&source->lock);
	source->open = true;
	pthread_cond_broadcast(&source->changed);
	pthread_mutex_unlock(&source->lock);
	return true;
}

static void finish_answer(struct disk_source *source, struct waiting *waiting)
{
	pthread_mutex_lock(&source->lock);
	g_ptr_array_remove_fast(source->waiting, waiting);
	pthread_mutex_unlock(&source->lock);
	nbd_done(waiting->request, 0);
	g_free(waiting);
}

static void tell_agreed(struct disk_source *source, unsigned disk, const uint8_t *digest)
{
	char text[TAG_HEX_BYTES];
	tag_hex(digest, text);
	JsonObject *extra = json_object_new();
	json_object_set_string_member(extra, "target", source->transfer->disks->disks[disk].target);
	json_object_set_string_member(extra, "digest", text);
	transfer_post(source->transfer, EVENT_DISK_AGREED, extra);
}

/* The guest may stand still and wait for this: nothing is answered that is not proven. */
static bool take_flush(struct disk_source *source, struct waiting *waiting, const uint8_t *digest,
		       size_t length)
{
	unsigned disk = waiting->request->export;
	if (length != TAG_BYTES)
		return false;
	if (!tag_equal(digest, waiting->digest)) {
		transfer_refuse(source->transfer, "verify",
				_("the disk %s at the destination is not what the source wrote"),
				source->transfer->disks->disks[disk].target);
		return true;
	}
	pthread_mutex_lock(&source->lock);
	source->flushes[disk]++;
	pthread_mutex_unlock(&source->lock);
	tell_agreed(source, disk, digest);
	finish_answer(source, waiting);
	return true;
}

static bool take_read(struct disk_source *source, struct waiting *waiting, const uint8_t *data,
		      size_t length)
{
	struct nbd_request *request = waiting->request;
	if (length <= 8 || request->command != NBD_READ)
		return false;
	uint64_t at = disk_get_u64(data);
	length -= 8;
	if (at < request->offset || at - request->offset > request->length ||
	    length > request->length - (at - request->offset) || length > waiting->left)
		return false;
	memcpy(request->payload + (at - request->offset), data + 8, length);
	waiting->left -= length;
	if (!waiting->left)
		finish_answer(source, waiting);
	return true;
}

/* ---- seeds ---- */

static bool take_offer(struct disk_source *source, const uint8_t *data, size_t length)
{
	struct transfer *transfer = source->transfer;
	if (length < 8 || length % 8)
		return false;
	uint64_t place = disk_get_u64(data);
	pthread_mutex_lock(&transfer->sorting);
	for (size_t at = 8; at < length; at += 8, place++) {
		uint64_t tag = disk_get_u64(data + at);
		if (tag && place <= UINT32_MAX)
			sorter_offer(transfer->sorter, tag, (uint32_t) place);
	}
	pthread_mutex_unlock(&transfer->sorting);
	return true;
}

static bool take_offered(struct disk_source *source)
{
	pthread_mutex_lock(&source->lock);
	source->offered = true;
	pthread_cond_broadcast(&source->changed);
	pthread_mutex_unlock(&source->lock);
	return true;
}

static bool put_pages(struct transfer *transfer, const uint8_t *numbers, size_t count, uint8_t *out)
{
	bool good = true;
	pthread_mutex_lock(&transfer->sorting);
	for (size_t i = 0; good && i < count; i++) {
		const uint8_t *page =
			sorter_seed_page(transfer->sorter, disk_get_u64(numbers + 8 * i));
		good = page != NULL;
		if (good)
			memcpy(out + i * SEED_PAGE_BYTES, page, SEED_PAGE_BYTES);
	}
	pthread_mutex_unlock(&transfer->sorting);
	return good;
}

/* What the destination read in a seed was something else. */
static bool take_ask(struct disk_source *source, const uint8_t *data, size_t length)
{
	struct transfer *transfer = source->transfer;
	size_t count = length / 8;
	if (length % 8 || count == 0 || count > BATCH_DISK_BLOCKS)
		return false;
	struct link_frame *frame = link_frame_begin(transfer->link, LINK_DISK, NULL);
	if (!frame)
		return true; /* the link is at its end, and says so itself */
	frame->flags = DISK_PAGES;
	frame->length = DISK_ANSWER_BYTES + count * SEED_PAGE_BYTES;
	disk_put_u64(frame->data, 0);
	bool good = put_pages(transfer, data, count, frame->data + DISK_ANSWER_BYTES);
	pthread_mutex_lock(&source->lock);
	source->asked += count;
	pthread_mutex_unlock(&source->lock);
	if (good)
		link_frame_commit(transfer->link, LINK_DISK, frame);
	else
		link_frame_cancel(transfer->link, LINK_DISK, frame);
	return good;
}

/* What a page costs that is sent: its packed bytes, at the speed of the link. */
static double send_us(struct transfer *transfer)
{
	double link = encoders_link_bytes_s(transfer->encoders);
	pthread_mutex_lock(&transfer->lock);
	double original = (double) (transfer->content.pages.literal_pages * BATCH_DISK_BLOCK);
	double packed = (double) transfer->content.encoded_bytes;
	pthread_mutex_unlock(&transfer->lock);
	double ratio = original > 0 ? MIN(packed / original, 1) : 1;
	return link > 0 ? BATCH_DISK_BLOCK * ratio * 1e6 / link : 0;
}

static bool take_pace(struct disk_source *source, const uint8_t *data, size_t length)
{
	struct transfer *transfer = source->transfer;
	if (length != 16)
		return false;
	double cost_us = send_us(transfer);
	pthread_mutex_lock(&transfer->sorting);
	reading_note(&source->reading, disk_get_u64(data), disk_get_u64(data + 8), cost_us,
		     clock_now_us());
	disk_source_judge(source);
	pthread_mutex_unlock(&transfer->sorting);
	return true;
}

static bool take_disk_answer(struct disk_source *source, const struct link_frame *frame)
{
	if (frame->length < DISK_ANSWER_BYTES)
		return false;
	const uint8_t *data = frame->data + DISK_ANSWER_BYTES;
	size_t length = frame->length - DISK_ANSWER_BYTES;
	pthread_mutex_lock(&source->lock);
	bool opening = source->opening && !source->open;
	struct waiting *waiting = find_waiting(source, disk_get_u64(frame->data));
	pthread_mutex_unlock(&source->lock);
	if (frame->flags == DISK_OFFERED)
		return take_offered(source);
	if (frame->flags == DISK_OFFER)
		return take_offer(source, data, length);
	if (frame->flags == DISK_PACE)
		return take_pace(source, data, length);
	if (frame->flags == DISK_ASK)
		return take_ask(source, data, length);
	if (frame->flags == DISK_OPEN)
		return opening && take_open(source, data, length);
	if (!waiting)
		return false;
	return frame->flags == DISK_FLUSH  ? take_flush(source, waiting, data, length)
	       : frame->flags == DISK_READ ? take_read(source, waiting, data, length)
					   : false;
}

void disk_answers_fail(struct disk_source *source)
{
	pthread_mutex_lock(&source->lock);
	GPtrArray *all = source->waiting;
	source->waiting = g_ptr_array_new();
	source->broken = true;
	pthread_cond_broadcast(&source->changed);
	pthread_mutex_unlock(&source->lock);
	for (guint i = 0; i < all->len; i++) {
		struct waiting *waiting = all->pdata[i];
		nbd_done(waiting->request, EIO);
		g_free(waiting);
	}
	g_ptr_array_unref(all);
}

void *disk_answers_thread(void *data)
{
	struct transfer *transfer = data;
	struct disk_source *source = transfer->disk_source;
	g_autoptr(GError) error = NULL;
	struct link_frame *frame;
	while ((frame = link_receive(transfer->link, LINK_DISK, -1, NULL, &error))) {
		bool good = take_disk_answer(source, frame);
		link_frame_done(transfer->link, LINK_DISK, frame);
		if (!good)
			transfer_refuse(
				transfer, "protocol", "%s",
				_("the destination mover gave an answer about disks that cannot "
				  "be one"));
	}
	if (error)
		transfer_refuse_error(transfer, "link", error);
	disk_answers_fail(source);
	return transfer_thread_ends(transfer);
}
