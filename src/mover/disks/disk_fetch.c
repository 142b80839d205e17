/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the blocks that batches refer to, ahead of need. */
#include "mover/disks/disk_fetch.h"

#include "mover/core/peer_process.h"

#include "base/clock.h"
#include "nbd/reader.h"
#include "mover/disks/seeds.h"

#include <string.h>

struct disk_fetch {
	struct transfer *transfer;
	const struct resolver *resolver;
	gint open; /* atomic: the readers are there */
	pthread_mutex_t lock;
	uint64_t pages, us; /* under the lock: read so far, in so long */
	struct disk_reader *readers[KNOWN_DISKS_MAX];
};

static struct disk_reader *open_reader(struct transfer *transfer,
				       const struct disk_setting *setting, GError **error)
{
	bool raw = setting->path && g_strcmp0(setting->format, "raw") == 0;
	const struct disk_reader_config config = { .path = setting->path,
						   .format = "raw",
						   .socket = raw ? NULL : transfer->disk_socket,
						   .dial = peer_dial_qemu,
						   .dial_data = transfer->settings,
						   .export = setting->export,
						   .disk = setting->target };
	return disk_reader_open(&config, error);
}

struct disk_fetch *disk_fetch_new(struct transfer *transfer, const struct resolver *resolver)
{
	struct disk_fetch *fetch = g_new0(struct disk_fetch, 1);
	fetch->transfer = transfer;
	fetch->resolver = resolver;
	pthread_mutex_init(&fetch->lock, NULL);
	return fetch;
}

bool disk_fetch_open(struct disk_fetch *fetch, GError **error)
{
	struct transfer *transfer = fetch->transfer;
	for (unsigned i = 0; i < transfer->disks->count; i++) {
		fetch->readers[i] = open_reader(transfer, &transfer->disks->disks[i], error);
		if (!fetch->readers[i])
			return false;
	}
	g_atomic_int_set(&fetch->open, 1);
	return true;
}

struct disk_reader *disk_fetch_reader(const struct disk_fetch *fetch, unsigned disk)
{
	return fetch->readers[disk];
}

bool disk_fetch_is_seed(uint32_t place)
{
	return place >= KNOWN_SEED_PLACES;
}

void disk_fetch_free(struct disk_fetch *fetch)
{
	if (!fetch)
		return;
	for (unsigned i = 0; i < KNOWN_DISKS_MAX; i++)
		disk_reader_free(fetch->readers[i]);
	pthread_mutex_destroy(&fetch->lock);
	g_free(fetch);
}

bool disk_fetch_find(const struct disk_fetch *fetch, uint32_t place, uint32_t *disk,
		     uint64_t *block)
{
	return resolver_find_block(fetch->resolver, place, disk, block);
}

/* What is meant may stand before it in the same batch, and be on no disk yet. */
static const struct item *find_in_batch(const struct disk_fetch *fetch, const struct batch *batch,
					uint32_t before)
{
	uint32_t disk;
	uint64_t block;
	if (batch->kind != BATCH_DISK || !fetch ||
	    !disk_fetch_find(fetch, batch->items[before].place, &disk, &block))
		return NULL;
	for (uint32_t i = 0; i < before; i++) {
		const struct item *item = &batch->items[i];
		if ((item->kind == ITEM_LITERAL || item->kind == ITEM_DISK) &&
		    item->block == disk && item->page == block)
			return item;
	}
	return NULL;
}

/* Where each of the batch's references is to be read to; length says that it need not. */
static void give_room(const struct disk_fetch *fetch, struct batch *batch)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		struct item *item = &batch->items[i];
		if (item->kind != ITEM_DISK)
			continue;
		const struct item *other = find_in_batch(fetch, batch, i);
		if (other && other->data) {
			item->data = other->data;
			item->length = BATCH_DISK_BLOCK;
			continue;
		}
		if (batch->deltas_length + BATCH_DISK_BLOCK > BATCH_RAW_MAX)
			continue;
		item->data = batch->deltas + batch->deltas_length;
		batch->deltas_length += BATCH_DISK_BLOCK;
	}
}

/* Images are counted through: the disks, then the seeds. */
static bool find_fetched_image(const struct disk_fetch *fetch, uint32_t place, uint32_t *image,
			       uint64_t *block)
{
	if (!disk_fetch_is_seed(place))
		return disk_fetch_find(fetch, place, image, block);
	if (!resolver_find_seed(fetch->resolver, place, image, block))
		return false;
	*image += KNOWN_DISKS_MAX;
	return true;
}

static struct disk_reader *reader_of(struct disk_fetch *fetch, uint32_t image)
{
	if (image >= KNOWN_DISKS_MAX)
		return seeds_reader(fetch->transfer->seeds, image - KNOWN_DISKS_MAX);
	return g_atomic_int_get(&fetch->open) ? fetch->readers[image] : NULL;
}

/* References to IMAGE that follow each other in the batch and in the image are one piece. */
static unsigned gather(const struct disk_fetch *fetch, const struct batch *batch, uint32_t image,
		       struct disk_piece *pieces)
{
	unsigned n = 0;
	for (uint32_t i = 0; i < batch->count; i++) {
		const struct item *item = &batch->items[i];
		uint32_t its;
		uint64_t block;
		if (item->kind != ITEM_DISK || !item->data || item->length ||
		    !find_fetched_image(fetch, item->place, &its, &block) || its != image)
			continue;
		struct disk_piece *last = n ? &pieces[n - 1] : NULL;
		uint8_t *data = (uint8_t *) (uintptr_t) item->data;
		if (last && last->offset + last->length == block * BATCH_DISK_BLOCK &&
		    last->data + last->length == data)
			last->length += BATCH_DISK_BLOCK;
		else
			pieces[n++] = (struct disk_piece){ block * BATCH_DISK_BLOCK,
							   BATCH_DISK_BLOCK, data };
	}
	return n;
}

/* What cannot be read now is looked at again in order, and told then. */
static void read_images(struct disk_fetch *fetch, const struct batch *batch)
{
	struct disk_piece pieces[BATCH_DISK_BLOCKS];
	const struct disks *disks = fetch->transfer->disks;
	for (uint32_t image = 0; image < KNOWN_DISKS_MAX + disks->seed_count; image++) {
		if (image >= disks->count && image < KNOWN_DISKS_MAX)
			continue;
		struct disk_reader *reader = reader_of(fetch, image);
		unsigned n = reader ? gather(fetch, batch, image, pieces) : 0;
		if (n > 0)
			disk_reader_read(reader, pieces, n, NULL);
	}
}

/* Length says that it is what was meant. */
static void check_items(struct batch *batch, struct tag_context *pages)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		struct item *item = &batch->items[i];
		uint8_t tag[TAG_BYTES];
		if (item->kind != ITEM_DISK || !item->data || item->length)
			continue;
		tag_compute(pages, item->data, BATCH_DISK_BLOCK, tag);
		if (memcmp(tag, item->tag, sizeof(uint64_t)) != 0)
			continue;
		memcpy(item->tag, tag, TAG_BYTES);
		item->tagged = true;
		item->length = BATCH_DISK_BLOCK;
	}
}

static void note_pace(struct disk_fetch *fetch, uint64_t pages, int64_t us)
{
	pthread_mutex_lock(&fetch->lock);
	fetch->pages += pages;
	fetch->us += (uint64_t) us;
	pthread_mutex_unlock(&fetch->lock);
}

void disk_fetch_pace(struct disk_fetch *fetch, uint64_t *pages, uint64_t *us)
{
	pthread_mutex_lock(&fetch->lock);
	*pages = fetch->pages;
	*us = fetch->us;
	pthread_mutex_unlock(&fetch->lock);
}

void disk_fetch_batch(struct disk_fetch *fetch, struct batch *batch, struct tag_context *pages)
{
	bool any = false;
	for (uint32_t i = 0; i < batch->count && !any; i++)
		any = batch->items[i].kind == ITEM_DISK;
	if (!any || !fetch)
		return;
	give_room(fetch, batch);
	int64_t since_us = clock_now_us();
	read_images(fetch, batch);
	note_pace(fetch, batch->deltas_length / BATCH_DISK_BLOCK, clock_now_us() - since_us);
	check_items(batch, pages);
}
