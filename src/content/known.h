/* SPDX-License-Identifier: Apache-2.0 */
/* How much both sides remember: what follows from a mover's memory limit. Of what is left after
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

/* TABLE learns the blocks that READER has read. */
void known_set_blocks(struct page_table *table, const struct stream_reader *reader);
