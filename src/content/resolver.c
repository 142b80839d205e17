/* SPDX-License-Identifier: Apache-2.0 */
/* Makes QEMU's records of a batch's items. */
#include "content/resolver.h"

#include "content/delta.h"

#include <glib.h>
#include <string.h>

/* Flags in the low bits of a record's first word; see docs/qemu-stream.md. */
#define RECORD_ZERO 0x02
#define RECORD_PAGE 0x08
#define RECORD_CONTINUE 0x20

struct resolver {
	struct known known;
	uint8_t page[DELTA_PAGE_MAX];
};

/* Where records are written anew. */
struct output {
	uint8_t *at, *end;
	const struct stream_reader *reader;
};

struct resolver *resolver_new(const uint8_t key[TAG_KEY_BYTES],
			      const uint8_t page_key[TAG_KEY_BYTES],
			      const struct known_sizes *sizes)
{
	struct resolver *resolver = g_new0(struct resolver, 1);
	known_init(&resolver->known, key, page_key, sizes, true);
	return resolver;
}

void resolver_free(struct resolver *resolver)
{
	if (!resolver)
		return;
	known_clear(&resolver->known);
	g_free(resolver);
}

void resolver_set_blocks(struct resolver *resolver, const struct stream_reader *reader)
{
	known_set_blocks(&resolver->known, reader);
}

/* ---- writing records ---- */

static bool put_record(struct output *out, const void *bytes, size_t length)
{
	if ((size_t) (out->end - out->at) < length)
		return false;
	memcpy(out->at, bytes, length);
	out->at += length;
	return true;
}

/* The first word, and the name where QEMU needs it. */
static bool put_head(struct resolver *resolver, struct output *out, const struct item *item,
		     uint64_t page, unsigned flag, uint32_t page_bytes)
{
	const struct stream_block *block = stream_reader_block(out->reader, item->block);
	bool named = item->block == resolver->known.last_block;
	if (!block || page >= (block->used_bytes + page_bytes - 1) / page_bytes)
		return false;
	uint64_t word = __builtin_bswap64(page * page_bytes | flag | (named ? RECORD_CONTINUE : 0));
	uint8_t length = (uint8_t) strlen(block->name);
	resolver->known.last_block = item->block;
	return put_record(out, &word, sizeof(word)) &&
	       (named || (put_record(out, &length, 1) && put_record(out, block->name, length)));
}

static bool put_zeros(struct resolver *resolver, struct output *out, const struct item *item,
		      uint32_t page_bytes)
{
	for (uint32_t i = 0; i < item->count; i++)
		if (!put_head(resolver, out, item, item->page + i, RECORD_ZERO, page_bytes) ||
		    !put_record(out, "", 1))
			return false;
	known_note_other(&resolver->known, item);
	return true;
}

/* ---- one page ---- */

static bool resolve_same(struct resolver *resolver, struct item *item)
{
	struct page_entry known;
	page_table_get(resolver->known.table, item->block, item->page, &known);
	if (known.kind != PAGE_CONTENT || item->block != resolver->known.last_block)
		return false;
	memcpy(item->tag, &known.tag, sizeof(known.tag));
	return true;
}

/* The content of the page that ITEM means, NULL if there is none. */
static const uint8_t *content_of(struct resolver *resolver, struct item *item, uint32_t page_bytes)
{
	if (item->kind == ITEM_LITERAL)
		return item->data;
	/* a block of a disk is no page of another size: behind it lies what the batch held before */
	if (item->kind == ITEM_DISK)
		return page_bytes == BATCH_DISK_BLOCK ? item->data : NULL;
	const uint8_t *kept = page_cache_get(resolver->known.cache, item->place, page_bytes);
	if (!kept || item->kind == ITEM_REFERENCE)
		return kept;
	return delta_decode(kept, item->data, item->length, resolver->page, page_bytes)
		       ? resolver->page
		       : NULL;
}

static bool put_page(struct resolver *resolver, struct output *out, struct item *item,
		     uint32_t page_bytes)
{
	const uint8_t *content = content_of(resolver, item, page_bytes);
	if (!content)
		return false;
	if (item->kind != ITEM_LITERAL && !item->tagged)
		tag_compute(resolver->known.pages, content, page_bytes, item->tag);
	if (!put_head(resolver, out, item, item->page, RECORD_PAGE, page_bytes) ||
	    !put_record(out, content, page_bytes))
		return false;
	if (item->kind == ITEM_LITERAL)
		page_cache_add(resolver->known.cache, content, page_bytes);
	known_note_page(&resolver->known, item, 0);
	return true;
}

static bool put_record_bytes(struct resolver *resolver, struct output *out, const struct item *item)
{
	known_note_other(&resolver->known, item);
	return put_record(out, item->data, item->length);
}

static bool put_item(struct resolver *resolver, struct output *out, struct item *item,
		     uint32_t page_bytes)
{
	switch (item->kind) {
	case ITEM_BYTES:
		return put_record_bytes(resolver, out, item);
	case ITEM_ZERO:
		return put_zeros(resolver, out, item, page_bytes);
	case ITEM_SAME:
		return resolve_same(resolver, item);
	default:
		return put_page(resolver, out, item, page_bytes);
	}
}

/* ---- batches ---- */

static enum resolver_answer compare_tag(const uint8_t tag[TAG_BYTES],
					const uint8_t expected[TAG_BYTES])
{
	return tag_equal(tag, expected) ? RESOLVER_GOOD : RESOLVER_DIFFERENT;
}

enum resolver_answer resolver_pass(struct resolver *resolver, const struct batch *batch,
				   const uint8_t expected[TAG_BYTES])
{
	uint8_t tag[TAG_BYTES];
	tag_compute(resolver->known.list, batch->raw, batch->parsed, tag);
	return compare_tag(tag, expected);
}

enum resolver_answer resolver_plain(struct resolver *resolver, struct batch *batch,
				    const uint8_t expected[TAG_BYTES])
{
	uint8_t tag[TAG_BYTES];
	batch_tag_literals(batch, resolver->known.pages);
	for (uint32_t i = 0; i < batch->count; i++) {
		const struct item *item = &batch->items[i];
		if (item->kind == ITEM_LITERAL)
			known_note_page(&resolver->known, item, 0);
		else
			known_note_other(&resolver->known, item);
	}
	batch_seal(batch, resolver->known.pages, resolver->known.list, tag);
	return compare_tag(tag, expected);
}

enum resolver_answer resolver_items(struct resolver *resolver, struct batch *batch,
				    const struct stream_reader *reader,
				    const uint8_t expected[TAG_BYTES], uint8_t *out, size_t *length)
{
	uint8_t tag[TAG_BYTES];
	struct output output = { out, out + BATCH_EMIT_MAX, reader };
	if (batch->page_bytes != stream_reader_page_size(reader))
		return RESOLVER_DAMAGED;
	for (uint32_t i = 0; i < batch->count; i++)
		if (!put_item(resolver, &output, &batch->items[i], batch->page_bytes))
			return RESOLVER_DAMAGED;
	*length = (size_t) (output.at - out);
	batch_seal(batch, resolver->known.pages, resolver->known.list, tag);
	return compare_tag(tag, expected);
}

/* ---- disks ---- */

void resolver_set_disks(struct resolver *resolver, const struct known_disk *disks, uint32_t count)
{
	known_set_disks(&resolver->known, disks, count);
}

/* Room for a block in the batch's own memory; NULL when there is none left. */
static uint8_t *keep_content(struct batch *batch)
{
	if (batch->deltas_length + BATCH_DISK_BLOCK > BATCH_RAW_MAX)
		return NULL;
	uint8_t *at = batch->deltas + batch->deltas_length;
	batch->deltas_length += BATCH_DISK_BLOCK;
	return at;
}

static bool resolve_same_block(struct resolver *resolver, struct item *item)
{
	struct page_entry known;
	page_table_get(resolver->known.blocks, item->block, item->page, &known);
	memcpy(item->tag, &known.tag, sizeof(known.tag));
	return known.kind == PAGE_CONTENT;
}

/* What the cache holds now may be gone after the next page. */
static bool resolve_cached_block(struct resolver *resolver, struct batch *batch, struct item *item)
{
	const uint8_t *kept = page_cache_get(resolver->known.cache, item->place, BATCH_DISK_BLOCK);
	uint8_t *copy = kept ? keep_content(batch) : NULL;
	if (!copy)
		return false;
	item->data = memcpy(copy, kept, BATCH_DISK_BLOCK);
	return true;
}

static bool resolve_block(struct resolver *resolver, struct batch *batch, struct item *item)
{
	struct known *known = &resolver->known;
	if (item->block >= known->disk_count || item->page >= known->disks[item->block].blocks ||
	    item->count > known->disks[item->block].blocks - item->page)
		return false;
	if (item->kind == ITEM_SAME)
		return resolve_same_block(resolver, item);
	if (item->kind == ITEM_REFERENCE && !resolve_cached_block(resolver, batch, item))
		return false;
	if (item->kind == ITEM_ZERO)
		item->place = known_is_zero(known, item->block, item->page * BATCH_DISK_BLOCK,
					    (uint64_t) item->count * BATCH_DISK_BLOCK);
	else if (!item->data || item->kind == ITEM_BYTES || item->kind == ITEM_DELTA)
		return false;
	else if (item->kind != ITEM_LITERAL && !item->tagged)
		tag_compute(known->pages, item->data, BATCH_DISK_BLOCK, item->tag);
	known_note_block(known, item);
	return true;
}

enum resolver_answer resolver_disk(struct resolver *resolver, struct batch *batch,
				   const uint8_t expected[TAG_BYTES])
{
	uint8_t tag[TAG_BYTES];
	if (batch->page_bytes != BATCH_DISK_BLOCK)
		return RESOLVER_DAMAGED;
	for (uint32_t i = 0; i < batch->count; i++)
		if (!resolve_block(resolver, batch, &batch->items[i]))
			return RESOLVER_DAMAGED;
	batch_seal(batch, resolver->known.pages, resolver->known.disk_list, tag);
	return compare_tag(tag, expected);
}

enum resolver_answer resolver_order(struct resolver *resolver, const struct batch *batch,
				    const uint8_t expected[TAG_BYTES])
{
	uint8_t tag[TAG_BYTES];
	tag_compute(resolver->known.disk_list, batch->raw, batch->parsed, tag);
	return compare_tag(tag, expected);
}

void resolver_zero_disk(struct resolver *resolver, uint32_t disk, uint64_t offset, uint64_t length)
{
	known_note_zeros(&resolver->known, disk, offset, length);
}

void resolver_clear_disk(struct resolver *resolver, uint32_t disk, uint64_t offset, uint64_t length)
{
	known_forget_range(&resolver->known, disk, offset, length);
}

bool resolver_find_block(const struct resolver *resolver, uint32_t place, uint32_t *disk,
			 uint64_t *block)
{
	return known_find_block(&resolver->known, place, disk, block);
}

uint32_t resolver_add_seed(struct resolver *resolver, uint64_t bytes)
{
	return known_add_seed(&resolver->known, bytes);
}

bool resolver_find_seed(const struct resolver *resolver, uint32_t place, uint32_t *seed,
			uint64_t *block)
{
	return known_find_seed(&resolver->known, place, seed, block);
}

void resolver_get_block(const struct resolver *resolver, uint32_t disk, uint64_t block,
			struct page_entry *entry)
{
	page_table_get(resolver->known.blocks, disk, block, entry);
}

bool resolver_is_mixed(const struct resolver *resolver, uint32_t disk, uint64_t block)
{
	return page_table_is_mixed(resolver->known.blocks, disk, block);
}
