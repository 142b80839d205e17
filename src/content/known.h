/* SPDX-License-Identifier: Apache-2.0 */
/* How much both sides remember: what follows from a mover's memory limit.
 *
 *   limit / 16    window of the link: frames that are under way
 *   limit / 8     page table: 12.25 bytes for each page that is not zero, so 64 MiB are good for a
 *                 guest with 20 GiB in use; beyond it pages are no longer found to be the same
 *   limit / 16    index from content to the cache (source only)
 *   limit / 2     cache of pages (content/page_cache.h); the destination takes 1/16 of it more
 *   limit / 16    windows of the compressors' streams, all together
 *   the rest      program, batches in hand (0.8 MiB each, at most 2.9 with all their lists full) and
 *                 the compressors' tables
 */
#pragma once
#include "content/page_table.h"
#include "stream/reader.h"

#include <stdint.h>

struct known_sizes {
	uint64_t link_window, page_table, content_index, page_cache;
	uint64_t stream_windows;
};

static inline struct known_sizes known_sizes_for(uint64_t memory_limit)
{
	return (struct known_sizes){
		.link_window = memory_limit / 16,
		.page_table = memory_limit / 8,
		.content_index = memory_limit / 16,
		.page_cache = memory_limit / 2,
		.stream_windows = memory_limit / 16,
	};
}

/* TABLE learns the blocks that READER has read. */
void known_set_blocks(struct page_table *table, const struct stream_reader *reader);
