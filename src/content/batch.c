/* SPDX-License-Identifier: Apache-2.0 */
/* Fills batches, and counts what is in them. */
#include "content/batch.h"

#include <glib.h>
#include <string.h>

/* Commands from here on belong to the switch to post-copy (docs/qemu-stream.md). */
#define COMMAND_POSTCOPY_LISTEN 4

struct batch *batch_new(void)
{
	struct batch *batch = g_new0(struct batch, 1);
	batch->raw = g_malloc(BATCH_BODY_MAX);
	batch->deltas = g_malloc(BATCH_RAW_MAX);
	batch->items = g_new(struct item, BATCH_ITEMS_MAX);
	return batch;
}

void batch_free(struct batch *batch)
{
	if (!batch)
		return;
	g_free(batch->raw);
	g_free(batch->deltas);
	g_free(batch->items);
	g_free(batch);
}

void batch_clear(struct batch *batch)
{
	batch->filled = batch->fed = batch->parsed = batch->body = 0;
	batch->count = 0;
	batch->deltas_length = 0;
	batch->original_bytes = batch->pages = 0;
	batch->asked_us = 0;
	batch->has_blocks = batch->postcopy = false;
	batch->kind = BATCH_RAW;
}

size_t batch_room(const struct batch *batch)
{
	return BATCH_RAW_MAX - batch->filled;
}

static struct item *add_item(struct batch *batch, enum item_kind kind,
			     const struct stream_record *record)
{
	struct item *item = &batch->items[batch->count++];
	*item = (struct item){ .kind = kind,
			       .block = record->block,
			       .page = record->offset / batch->page_bytes,
			       .count = 1 };
	return item;
}

static struct item *last_item(const struct batch *batch, enum item_kind kind)
{
	struct item *last = batch->count ? &batch->items[batch->count - 1] : NULL;
	return last && last->kind == kind ? last : NULL;
}

static void add_page(struct batch *batch, const struct stream_record *record)
{
	struct item *item = add_item(batch, ITEM_LITERAL, record);
	batch->pages++;
	item->length = batch->page_bytes;
	item->data = batch->raw + batch->parsed + record->length - batch->page_bytes;
	batch->body += batch->page_bytes + 24;
}

static void add_zero(struct batch *batch, const struct stream_record *record)
{
	struct item *last = last_item(batch, ITEM_ZERO);
	batch->pages++;
	if (last && last->block == record->block &&
	    last->page + last->count == record->offset / batch->page_bytes) {
		last->count++;
		return;
	}
	add_item(batch, ITEM_ZERO, record);
	batch->body += 16;
}

static void add_bytes(struct batch *batch, const struct stream_record *record)
{
	bool page_like =
		record->kind == STREAM_XBZRLE_PAGE || record->kind == STREAM_COMPRESSED_PAGE;
	struct item *last = last_item(batch, ITEM_BYTES);
	batch->body += record->length;
	if (!last) {
		last = add_item(batch, ITEM_BYTES, record);
		last->block = BATCH_NO_BLOCK;
		last->data = batch->raw + batch->parsed;
		batch->body += 16;
	}
	last->length += (uint32_t) record->length;
	if (page_like)
		last->block = record->block;
}

void batch_read(struct batch *batch, struct stream_reader *reader)
{
	struct stream_record record;
	stream_reader_feed(reader, batch->raw + batch->fed, batch->filled - batch->fed);
	batch->fed = batch->filled;
	while (stream_reader_next(reader, &record)) {
		batch->page_bytes = stream_reader_page_size(reader);
		if (record.kind == STREAM_PAGE)
			add_page(batch, &record);
		else if (record.kind == STREAM_ZERO_PAGE)
			add_zero(batch, &record);
		else
			add_bytes(batch, &record);
		batch->has_blocks |= record.kind == STREAM_BLOCK_LIST;
		batch->postcopy |=
			record.kind == STREAM_COMMAND && record.value >= COMMAND_POSTCOPY_LISTEN;
		batch->parsed += record.length;
	}
	batch->original_bytes = batch->parsed;
}

void batch_flush(struct batch *batch, struct stream_reader *reader)
{
	const uint8_t *bytes;
	size_t length = stream_reader_flush(reader, &bytes);
	if (!length)
		return;
	struct stream_record rest = { .kind = STREAM_OPAQUE, .length = length };
	add_bytes(batch, &rest);
	batch->parsed += length;
	batch->original_bytes = batch->parsed;
}

size_t batch_take_tail(struct batch *batch, uint8_t *tail)
{
	size_t length = batch->filled - batch->parsed;
	memcpy(tail, batch->raw + batch->parsed, length);
	batch->filled = batch->fed = batch->parsed;
	return length;
}

void batch_begin(struct batch *batch, const uint8_t *tail, size_t length)
{
	memcpy(batch->raw, tail, length);
	batch->filled = batch->fed = length;
}

void batch_set_blocks(struct batch *batch, uint32_t disk, uint64_t first, uint32_t count)
{
	batch->kind = BATCH_DISK;
	batch->page_bytes = BATCH_DISK_BLOCK;
	batch->count = count;
	batch->pages = count;
	batch->filled = batch->parsed = (size_t) count * BATCH_DISK_BLOCK;
	batch->original_bytes = batch->parsed;
	for (uint32_t i = 0; i < count; i++)
		batch->items[i] =
			(struct item){ .kind = ITEM_LITERAL,
				       .block = disk,
				       .page = first + i,
				       .count = 1,
				       .length = BATCH_DISK_BLOCK,
				       .data = batch->raw + (size_t) i * BATCH_DISK_BLOCK };
}

/* ---- the content's tag ---- */

void batch_tag_literals(struct batch *batch, struct tag_context *pages)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		struct item *item = &batch->items[i];
		if (item->kind == ITEM_LITERAL)
			tag_compute(pages, item->data, item->length, item->tag);
	}
}

enum entry_kind { ENTRY_BYTES = 1, ENTRY_ZERO, ENTRY_PAGE, ENTRY_SAME };

/* A line of the list. The layout is the same on both sides: numbers in host order would not do. */
struct entry {
	uint8_t kind, pad[3];
	uint8_t block[4]; /* little-endian, as the next ones */
	uint8_t page[8];
	uint8_t count[8]; /* pages, or bytes */
	uint8_t tag[TAG_BYTES];
};

static void put_number(uint8_t *to, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		to[i] = (uint8_t) (value >> (8 * i));
}

static const uint8_t entry_kinds[ITEM_KIND_LAST] = {
	[ITEM_BYTES] = ENTRY_BYTES,    [ITEM_ZERO] = ENTRY_ZERO,  [ITEM_LITERAL] = ENTRY_PAGE,
	[ITEM_REFERENCE] = ENTRY_PAGE, [ITEM_DELTA] = ENTRY_PAGE, [ITEM_SAME] = ENTRY_SAME,
	[ITEM_DISK] = ENTRY_PAGE,
};

static void make_entry(const struct item *item, struct entry *entry)
{
	*entry = (struct entry){ .kind = entry_kinds[item->kind] };
	put_number(entry->block, item->block, 4);
	put_number(entry->page, item->kind == ITEM_BYTES ? 0 : item->page, 8);
	put_number(entry->count, item->kind == ITEM_BYTES ? item->length : item->count, 8);
	if (item->kind == ITEM_SAME)
		memcpy(entry->tag, item->tag, sizeof(uint64_t));
	else if (item->kind != ITEM_ZERO)
		memcpy(entry->tag, item->tag, TAG_BYTES);
}

void batch_seal(struct batch *batch, struct tag_context *pages, struct tag_context *list,
		uint8_t tag[TAG_BYTES])
{
	struct entry entries[64];
	uint8_t chain[2 * TAG_BYTES] = { 0 };
	put_number(chain, batch->original_bytes, 8);
	for (uint32_t i = 0; i < batch->count;) {
		uint32_t n = 0;
		for (; i < batch->count && n < G_N_ELEMENTS(entries); i++, n++) {
			if (batch->items[i].kind == ITEM_BYTES)
				tag_compute(pages, batch->items[i].data, batch->items[i].length,
					    batch->items[i].tag);
			make_entry(&batch->items[i], &entries[n]);
		}
		tag_compute(list, entries, n * sizeof(entries[0]), chain + TAG_BYTES);
		tag_compute(list, chain, sizeof(chain), chain);
	}
	memcpy(tag, chain, TAG_BYTES);
}
