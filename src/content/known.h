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
 *   1/16  table of disk blocks, only where disks move: 12.25 bytes for each block of 4 KiB that is not
 *         zero, 4 for each 2 MiB of a disk's size. Disks that do not fit, and blocks, are not referred to;
 *         that a fresh disk is zeros is known for each GiB that was never written to, whatever its size
 *   1/16  index from content to disk blocks (source only): 13 bytes a block, the newest win
 *
 * Disks are numbered, and so are their blocks, through all disks together: that number, from 1 on, is
 * a block's place. Seeds are other images that the destination has; their places begin at
 * KNOWN_SEED_PLACES, and what is there is never certain.
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
	uint64_t disk_table, disk_index;
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
		.disk_table = rest / 16,
		.disk_index = rest / 16,
	};
}

#define KNOWN_DISKS_MAX 64
#define KNOWN_SEEDS_MAX 64
#define KNOWN_SEED_PLACES 0x80000000u

struct known_disk {
	uint64_t bytes;
	bool fresh;           /* reads as zeros at the beginning */
	uint64_t blocks;      /* whole ones */
	uint32_t first_place; /* of its first block; 0: its blocks have none */
	uint8_t *touched;     /* FRESH: a bit for each GiB that something was written to */
};

struct known {
	struct tag_context *pages, *list; /* for contents, and for a batch's list of them */
	struct tag_context *disk_list;    /* the same for a batch of a disk */
	struct page_table *table;
	struct page_cache *cache;
	bool begun;          /* the block list has passed */
	uint32_t last_block; /* of the page-like record that the destination's QEMU saw last */
	struct page_table *blocks; /* of the disks */
	uint64_t blocks_bytes;     /* its bound */
	struct known_disk disks[KNOWN_DISKS_MAX];
	uint32_t disk_count;
	struct known_disk seeds[KNOWN_SEEDS_MAX];
	uint32_t seed_count;
};

/* PAGE_KEY: for the contents; it may live longer than the migration, whose secret is KEY. */
void known_init(struct known *known, const uint8_t key[TAG_KEY_BYTES],
		const uint8_t page_key[TAG_KEY_BYTES], const struct known_sizes *sizes,
		bool destination);
void known_clear(struct known *known);
/* The blocks that READER has read: before a batch that has pages. Only the first call counts. */
void known_set_blocks(struct known *known, const struct stream_reader *reader);
/* ITEM's page has the content of its tag now; that lies at PLACE of the cache (0: nowhere). */
void known_note_page(struct known *known, const struct item *item, uint32_t place);
/* ITEM is a run of zeros, or bytes. */
void known_note_other(struct known *known, const struct item *item);

void known_clear_disks(struct known *known);
/* Disks, before anything of them is known; of each BYTES and FRESH are given. Once. */
void known_set_disks(struct known *known, const struct known_disk *disks, uint32_t count);
/* Another seed; of it BYTES is given. Returns the place of its first block, 0: there is no room for it. */
uint32_t known_add_seed(struct known *known, uint64_t bytes);
/* The block at PLACE of a seed. False: there is none. */
bool known_find_seed(const struct known *known, uint32_t place, uint32_t *seed, uint64_t *block);
/* The block at PLACE. False: there is none. */
bool known_find_block(const struct known *known, uint32_t place, uint32_t *disk, uint64_t *block);
/* 0: none. */
uint32_t known_place_of(const struct known *known, uint32_t disk, uint64_t block);
/* Is the range, all of it, known to be zeros? What is beyond the whole blocks never is. */
bool known_is_zero(const struct known *known, uint32_t disk, uint64_t offset, uint64_t length);
/* Zeros are written there; only the whole blocks inside are remembered, the rest is unknown. */
void known_note_zeros(struct known *known, uint32_t disk, uint64_t offset, uint64_t length);
/* Something is, that nobody looked at. */
void known_forget_range(struct known *known, uint32_t disk, uint64_t offset, uint64_t length);
/* ITEM of a BATCH_DISK has passed: its block is zeros, or has the content of its tag. */
void known_note_block(struct known *known, const struct item *item);
