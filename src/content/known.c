/* SPDX-License-Identifier: Apache-2.0 */
#include "content/known.h"

#include <glib.h>

void known_set_blocks(struct page_table *table, const struct stream_reader *reader)
{
	uint64_t page_bytes = stream_reader_page_size(reader);
	g_autofree uint64_t *pages = g_new0(uint64_t, STREAM_BLOCKS_MAX);
	uint32_t count = 0;
	for (const struct stream_block *block; (block = stream_reader_block(reader, count));
	     count++)
		pages[count] = (block->used_bytes + page_bytes - 1) / page_bytes;
	page_table_set_blocks(table, pages, count);
}
