/* SPDX-License-Identifier: Apache-2.0 */
/* Decides how each page of a batch travels. */
#include "content/sorter_internal.h"

#include "content/body.h"
#include "content/delta.h"

#include <glib.h>
#include <string.h>

#define REGION_PAGES_LOG 10 /* 4 MiB of a guest: what is judged together */
#define DELTA_FAILURES 2    /* in a row: then deltas are not tried there ... */
#define DELTA_PAUSE 64      /* ... for so many pages */

struct sorter *sorter_new(const uint8_t key[TAG_KEY_BYTES], const uint8_t page_key[TAG_KEY_BYTES],
			  const struct known_sizes *sizes)
{
	struct sorter *sorter = g_new0(struct sorter, 1);
	known_init(&sorter->known, key, page_key, sizes, false);
	sorter->index = content_index_new(sizes->content_index);
	sorter->disk_index = content_index_new(sizes->disk_index);
	return sorter;
}

void sorter_free(struct sorter *sorter)
{
	if (!sorter)
		return;
	known_clear(&sorter->known);
	content_index_free(sorter->index);
	content_index_free(sorter->disk_index);
	seed_pages_free(sorter->seed_pages);
	g_free(sorter);
}

void sorter_set_blocks(struct sorter *sorter, const struct stream_reader *reader)
{
	known_set_blocks(&sorter->known, reader);
}

const struct sorter_counts *sorter_counts(const struct sorter *sorter)
{
	return &sorter->counts;
}

void sorter_forget(struct sorter *sorter)
{
	sorter->forgotten = true;
	page_table_clear(sorter->known.table);
}

void sorter_pass(struct sorter *sorter, struct batch *batch)
{
	uint8_t tag[TAG_BYTES];
	batch->kind = BATCH_RAW;
	batch->seed_pages = sorter_seed_count(sorter);
	tag_compute(sorter->known.list, batch->raw, batch->parsed, tag);
	memcpy(batch->tag, tag, TAG_BYTES);
}

/* ---- one page ---- */

static struct region *region_of_page(struct sorter *sorter, const struct item *item)
{
	uint64_t region = (item->page >> REGION_PAGES_LOG) + (uint64_t) item->block * 0x9e3779b1u;
	return &sorter->regions[region % SORTER_REGIONS];
}

/* QEMU's record may be left out only where it does not carry the name of a block that later ones
 * rely on. */
static bool is_same_page(struct sorter *sorter, const struct item *item,
			 const struct page_entry *known)
{
	return known->kind == PAGE_CONTENT && known->tag == item_short_tag(item->tag) &&
	       item->block == sorter->known.last_block;
}

bool sorter_is_reference(struct sorter *sorter, struct item *item)
{
	uint32_t place = content_index_get(sorter->index, item_short_tag(item->tag));
	const uint8_t *content = page_cache_get(sorter->known.cache, place, item->length);
	if (!content || memcmp(content, item->data, item->length) != 0)
		return false;
	item->place = place;
	return true;
}

static bool is_delta(struct sorter *sorter, struct batch *batch, struct item *item,
		     const struct page_entry *known)
{
	struct region *region = region_of_page(sorter, item);
	const uint8_t *old =
		known->kind == PAGE_CONTENT
			? page_cache_get(sorter->known.cache, known->place, item->length)
			: NULL;
	if (!old)
		return false;
	if (region->pause) {
		region->pause--;
		return false;
	}
	uint8_t *delta = batch->deltas + batch->deltas_length;
	size_t length = delta_encode(old, item->data, item->length, delta, item->length / 2);
	if (!length) {
		sorter->counts.refused_deltas++;
		if (++region->failures >= DELTA_FAILURES)
			region->pause = DELTA_PAUSE;
		return false;
	}
	region->failures = 0;
	item->place = known->place;
	item->data = delta;
	item->length = (uint32_t) length;
	batch->deltas_length += length;
	return true;
}

static void keep_literal(struct sorter *sorter, struct item *item)
{
	item->place = page_cache_add(sorter->known.cache, item->data, item->length);
	if (item->place)
		content_index_put(sorter->index, item_short_tag(item->tag), item->place);
}

static void sort_page(struct sorter *sorter, struct batch *batch, struct item *item)
{
	struct page_entry known;
	page_table_get(sorter->known.table, item->block, item->page, &known);
	if (is_same_page(sorter, item, &known)) {
		item->kind = ITEM_SAME;
		sorter->counts.same_pages++;
		return;
	}
	if (sorter_is_reference(sorter, item)) {
		item->kind = ITEM_REFERENCE;
		sorter->counts.reference_pages++;
	} else if (sorter_is_on_disk(sorter, item)) {
		item->kind = ITEM_DISK;
		sorter->counts.disk_pages++;
	} else if (is_delta(sorter, batch, item, &known)) {
		item->kind = ITEM_DELTA;
		sorter->counts.delta_pages++;
		sorter->counts.delta_bytes += item->length;
	} else {
		keep_literal(sorter, item);
		sorter->counts.literal_pages++;
	}
	known_note_page(&sorter->known, item, item->kind == ITEM_DISK ? 0 : item->place);
}

static void note_other(struct sorter *sorter, const struct item *item)
{
	if (item->kind == ITEM_ZERO)
		sorter->counts.zero_pages += item->count;
	known_note_other(&sorter->known, item);
}

/* ---- the batch ---- */

static void sort_items(struct sorter *sorter, struct batch *batch)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		struct item *item = &batch->items[i];
		if (item->kind == ITEM_LITERAL)
			sort_page(sorter, batch, item);
		else
			note_other(sorter, item);
	}
}

/* As they are: the tags are remembered, the contents are not. */
static void note_plain(struct sorter *sorter, struct batch *batch)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		struct item *item = &batch->items[i];
		if (item->kind == ITEM_LITERAL) {
			known_note_page(&sorter->known, item, 0);
			sorter->counts.plain_pages++;
		} else {
			note_other(sorter, item);
		}
	}
}

/* Is there anything that would not have to be sent again? */
static bool knows_some(struct sorter *sorter, const struct batch *batch)
{
	struct page_entry known;
	for (uint32_t i = 0; i < batch->count; i++) {
		const struct item *item = &batch->items[i];
		if (item->kind != ITEM_LITERAL)
			continue;
		page_table_get(sorter->known.table, item->block, item->page, &known);
		if (is_same_page(sorter, item, &known))
			return true;
	}
	return false;
}

void sorter_sort(struct sorter *sorter, struct batch *batch, bool plain)
{
	if (batch->postcopy)
		sorter_forget(sorter);
	if (sorter->forgotten) {
		sorter_pass(sorter, batch);
		return;
	}
	batch_tag_literals(batch, sorter->known.pages);
	bool bare = !sorter->known.begun || batch->has_blocks || !body_fits(batch);
	if (bare || (plain && !knows_some(sorter, batch))) {
		batch->kind = BATCH_PLAIN;
		note_plain(sorter, batch);
	} else {
		batch->kind = BATCH_ITEMS;
		sort_items(sorter, batch);
	}
	batch->seed_pages = sorter_seed_count(sorter);
	batch_seal(batch, sorter->known.pages, sorter->known.list, batch->tag);
}
