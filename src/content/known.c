/* SPDX-License-Identifier: Apache-2.0 */
/* Pages and contents that both sides remember. */
#include "content/known.h"

#include <glib.h>

void known_init(struct known *known, const uint8_t key[TAG_KEY_BYTES],
		const uint8_t page_key[TAG_KEY_BYTES], const struct known_sizes *sizes,
		bool destination)
{
	*known = (struct known){ .pages = tag_context_new(page_key, "page"),
				 .list = tag_context_new(key, "list"),
				 .disk_list = tag_context_new(key, "disk"),
				 .blocks = page_table_new(sizes->disk_table),
				 .blocks_bytes = sizes->disk_table,
				 .table = page_table_new(sizes->page_table),
				 .cache = page_cache_new(sizes->page_cache, destination),
				 .last_block = BATCH_NO_BLOCK };
	if (!known->pages || !known->list || !known->disk_list)
		g_error("the crypto library gives no tags");
}

void known_clear(struct known *known)
{
	tag_context_free(known->pages);
	tag_context_free(known->list);
	tag_context_free(known->disk_list);
	page_table_free(known->table);
	known_clear_disks(known);
	page_cache_free(known->cache);
}

void known_set_blocks(struct known *known, const struct stream_reader *reader)
{
	uint64_t page_bytes = stream_reader_page_size(reader);
	uint32_t count = 0;
	if (known->begun)
		return;
	g_autofree uint64_t *pages = g_new0(uint64_t, STREAM_BLOCKS_MAX);
	for (const struct stream_block *block; (block = stream_reader_block(reader, count));
	     count++)
		pages[count] = (block->used_bytes + page_bytes - 1) / page_bytes;
	page_table_set_blocks(known->table, pages, count);
	known->begun = true;
}

void known_note_page(struct known *known, const struct item *item, uint32_t place)
{
	struct page_entry entry = { .kind = PAGE_CONTENT,
				    .place = place,
				    .tag = item_short_tag(item->tag) };
	page_table_put(known->table, item->block, item->page, &entry);
	known->last_block = item->block;
}

void known_note_other(struct known *known, const struct item *item)
{
	if (item->kind == ITEM_ZERO)
		page_table_put_zero_run(known->table, item->block, item->page, item->count);
	if (item->block == BATCH_NO_BLOCK)
		return;
	known->last_block = item->block;
	/* What a record that we do not read makes of the page is not known. */
	if (item->kind == ITEM_BYTES)
		page_table_clear(known->table);
}
