/* SPDX-License-Identifier: Apache-2.0 */
/* How the blocks of disks travel: by the rules of memory, but they do not enter the cache of pages. A
 * block that was sent is on the destination's disk, and is read from there when it is meant again. */
#include "content/sorter_internal.h"

#include <string.h>

void sorter_set_disks(struct sorter *sorter, const struct known_disk *disks, uint32_t count)
{
	known_set_disks(&sorter->known, disks, count);
}

const struct sorter_disk_counts *sorter_disk_counts(const struct sorter *sorter, uint32_t disk)
{
	return &sorter->disk_counts[disk];
}

/* What the index says may be old: the table knows what is there now. */
bool sorter_is_on_disk(struct sorter *sorter, struct item *item)
{
	const struct known *known = &sorter->known;
	uint64_t tag = item_short_tag(item->tag);
	uint32_t place = known->disk_count ? content_index_get(sorter->disk_index, tag) : 0;
	uint32_t disk;
	uint64_t block;
	struct page_entry entry;
	if (!place || item->length != BATCH_DISK_BLOCK ||
	    !known_find_block(known, place, &disk, &block))
		return false;
	page_table_get(known->blocks, disk, block, &entry);
	if (entry.kind != PAGE_CONTENT || entry.tag != tag)
		return false;
	item->place = place;
	return true;
}

static bool is_zero(const uint8_t *data)
{
	return data[0] == 0 && memcmp(data, data + 1, BATCH_DISK_BLOCK - 1) == 0;
}

static void sort_block(struct sorter *sorter, struct item *item)
{
	struct sorter_disk_counts *counts = &sorter->disk_counts[item->block];
	struct page_entry known;
	page_table_get(sorter->known.blocks, item->block, item->page, &known);
	if (is_zero(item->data)) {
		item->kind = ITEM_ZERO;
		counts->zero++;
	} else if (known.kind == PAGE_CONTENT && known.tag == item_short_tag(item->tag)) {
		item->kind = ITEM_SAME;
		counts->same++;
		return;
	} else if (!sorter->forgotten && sorter_is_reference(sorter, item)) {
		item->kind = ITEM_REFERENCE;
		counts->reference++;
	} else if (!sorter->forgotten && sorter_is_on_disk(sorter, item)) {
		item->kind = ITEM_DISK;
		counts->reference++;
	} else {
		counts->literal++;
	}
	known_note_block(&sorter->known, item);
	uint32_t place = known_place_of(&sorter->known, item->block, item->page);
	if (place && item->kind != ITEM_ZERO)
		content_index_put(sorter->disk_index, item_short_tag(item->tag), place);
}

/* Neighbours that are zeros become one item. */
static void join_zeros(struct batch *batch)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < batch->count; i++) {
		struct item *last = n ? &batch->items[n - 1] : NULL;
		if (last && last->kind == ITEM_ZERO && batch->items[i].kind == ITEM_ZERO)
			last->count++;
		else
			batch->items[n++] = batch->items[i];
	}
	batch->count = n;
}

void sorter_sort_disk(struct sorter *sorter, struct batch *batch)
{
	batch_tag_literals(batch, sorter->known.pages);
	for (uint32_t i = 0; i < batch->count; i++)
		sort_block(sorter, &batch->items[i]);
	join_zeros(batch);
	batch_seal(batch, sorter->known.pages, sorter->known.disk_list, batch->tag);
}

bool sorter_zero_disk(struct sorter *sorter, uint32_t disk, uint64_t offset, uint64_t length)
{
	if (known_is_zero(&sorter->known, disk, offset, length))
		return false;
	known_note_zeros(&sorter->known, disk, offset, length);
	return true;
}

void sorter_clear_disk(struct sorter *sorter, uint32_t disk, uint64_t offset, uint64_t length)
{
	known_forget_range(&sorter->known, disk, offset, length);
}

void sorter_seal_order(struct sorter *sorter, struct batch *batch)
{
	uint8_t tag[TAG_BYTES];
	batch->kind = BATCH_ORDER;
	tag_compute(sorter->known.disk_list, batch->raw, batch->parsed, tag);
	memcpy(batch->tag, tag, TAG_BYTES);
}
