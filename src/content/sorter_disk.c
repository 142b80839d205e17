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

uint32_t sorter_add_seed(struct sorter *sorter, uint64_t bytes)
{
	if (!sorter->seed_pages)
		sorter->seed_pages = seed_pages_new();
	return known_add_seed(&sorter->known, bytes);
}

void sorter_offer(struct sorter *sorter, uint64_t tag, uint32_t place)
{
	uint32_t seed;
	uint64_t block;
	if (known_find_seed(&sorter->known, place, &seed, &block) &&
	    content_index_get(sorter->disk_index, tag) == CONTENT_INDEX_NONE)
		content_index_put(sorter->disk_index, tag, place);
}

uint64_t sorter_seed_count(const struct sorter *sorter)
{
	return sorter->seed_pages ? seed_pages_count(sorter->seed_pages) : 0;
}

void sorter_seeds_taken(struct sorter *sorter, uint64_t count)
{
	if (sorter->seed_pages)
		seed_pages_release(sorter->seed_pages, count);
}

const uint8_t *sorter_seed_page(const struct sorter *sorter, uint64_t number)
{
	return sorter->seed_pages ? seed_pages_get(sorter->seed_pages, number) : NULL;
}

/* What the index says may be old: the table knows what is there now. Of a seed nobody here knows. */
static bool is_block_there(struct sorter *sorter, const struct item *item, uint32_t place)
{
	const struct known *known = &sorter->known;
	uint32_t disk;
	uint64_t block;
	struct page_entry entry;
	if (place >= KNOWN_SEED_PLACES)
		return seed_pages_add(sorter->seed_pages, item->data);
	if (!known_find_block(known, place, &disk, &block))
		return false;
	page_table_get(known->blocks, disk, block, &entry);
	return entry.kind == PAGE_CONTENT && entry.tag == item_short_tag(item->tag);
}

void sorter_use_disks(struct sorter *sorter, bool use)
{
	sorter->disks_slow = !use;
}

bool sorter_is_on_disk(struct sorter *sorter, struct item *item)
{
	const struct known *known = &sorter->known;
	bool any = known->disk_count || known->seed_count;
	if (!any || sorter->disks_slow || item->length != BATCH_DISK_BLOCK)
		return false;
	uint32_t place = content_index_get(sorter->disk_index, item_short_tag(item->tag));
	if (!place || !is_block_there(sorter, item, place))
		return false;
	item->place = place;
	return true;
}

static void sort_block(struct sorter *sorter, struct item *item)
{
	struct sorter_disk_counts *counts = &sorter->disk_counts[item->block];
	struct page_entry known;
	page_table_get(sorter->known.blocks, item->block, item->page, &known);
	if (block_is_zero(item->data)) {
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
	batch->seed_pages = sorter_seed_count(sorter);
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
	batch->seed_pages = sorter_seed_count(sorter);
	tag_compute(sorter->known.disk_list, batch->raw, batch->parsed, tag);
	memcpy(batch->tag, tag, TAG_BYTES);
}
