/* SPDX-License-Identifier: Apache-2.0 */
/* What both sides remember of the pages that travelled, by the same rules, so that one can name what
 * the other has; and how much: what follows from a mover's memory limit. Of what is left after
 * KNOWN_BASE for the program, the batches in hand and the compressors' tables:
 *
 *   1/16  window of the link: frames that are under way; the link may need twice as much
 *   1/8   page table: 12.25 bytes for each page that is not zero, so 61 MiB are good for a guest with
 *         20 GiB in use; beyond it pages are no longer found to be the same
 *   1/16  index from content to the cache (source only)
 *   1/2   cache of pages (content/page_cache.h); the destination takes 1/16 of it more
 *   1/16  windows of the compressors' streams, all together
 *   1/8   spare
 */
#pragma once
#include "content/batch.h"
#include "content/page_cache.h"
#include "content/page_table.h"
#include "stream/reader.h"

#include <stdint.h>

struct known_sizes {
	uint64_t link_window, page_table, content_index, page_cache;
	uint64_t stream_windows;
};

#define KNOWN_BASE (24ull << 20)

static inline struct known_sizes known_sizes_for(uint64_t memory_limit)
{
	uint64_t rest = memory_limit > 2 * KNOWN_BASE ? memory_limit - KNOWN_BASE : KNOWN_BASE;
	return (struct known_sizes){
		.link_window = rest / 16,
		.page_table = rest / 8,
		.content_index = rest / 16,
		.page_cache = rest / 2,
		.stream_windows = rest / 16,
	};
}

struct known {
	struct tag_context *pages, *list; /* for contents, and for a batch's list of them */
	struct page_table *table;
	struct page_cache *cache;
	bool begun;          /* the block list has passed */
	uint32_t last_block; /* of the page-like record that the destination's QEMU saw last */
};

void known_init(struct known *known, const uint8_t key[TAG_KEY_BYTES],
		const struct known_sizes *sizes, bool destination);
void known_clear(struct known *known);
/* The blocks that READER has read: before a batch that has pages. Only the first call counts. */
void known_set_blocks(struct known *known, const struct stream_reader *reader);
/* ITEM's page has the content of its tag now; that lies at PLACE of the cache (0: nowhere). */
void known_note_page(struct known *known, const struct item *item, uint32_t place);
/* ITEM is a run of zeros, or bytes. */
void known_note_other(struct known *known, const struct item *item);
