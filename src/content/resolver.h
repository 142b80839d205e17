/* SPDX-License-Identifier: Apache-2.0 */
/* The destination's memory of what it has handed to QEMU: turns batches back into records of QEMU's
 * stream, in order, and checks each before it is emitted. The other half of content/sorter.h.
 *
 * Thread rules: one thread at a time.
 */
#pragma once
#include "content/batch.h"
#include "content/known.h"

struct resolver;
/* PAGE_KEY: see known_init(). */
struct resolver *resolver_new(const uint8_t key[TAG_KEY_BYTES],
			      const uint8_t page_key[TAG_KEY_BYTES],
			      const struct known_sizes *sizes);
void resolver_free(struct resolver *resolver);
/* As the sorter's: after the batch that brought the block list was emitted. */
void resolver_set_blocks(struct resolver *resolver, const struct stream_reader *reader);

/* Why a batch cannot be emitted. */
enum resolver_answer {
	RESOLVER_GOOD,
	RESOLVER_DAMAGED,  /* it names what is not there: blocks, places, pages */
	RESOLVER_DIFFERENT /* its content is not what the source sent */
};

/* A RAW batch: EXPECTED is the tag of its bytes (raw, `parsed` of them). */
enum resolver_answer resolver_pass(struct resolver *resolver, const struct batch *batch,
				   const uint8_t expected[TAG_BYTES]);
/* A PLAIN batch that batch_read() has read. */
enum resolver_answer resolver_plain(struct resolver *resolver, struct batch *batch,
				    const uint8_t expected[TAG_BYTES]);
/* An ITEMS batch whose literals are tagged. Writes the records to OUT (BATCH_EMIT_MAX), *LENGTH of
 * them; names of blocks come from READER. */
enum resolver_answer resolver_items(struct resolver *resolver, struct batch *batch,
				    const struct stream_reader *reader,
				    const uint8_t expected[TAG_BYTES], uint8_t *out,
				    size_t *length);

/* ---- disks ---- */

/* As the sorter's. */
void resolver_set_disks(struct resolver *resolver, const struct known_disk *disks, uint32_t count);
/* A BATCH_DISK as body_read() left it, with the tags of its literals and the data of each ITEM_DISK:
 * afterwards each item has data, but for ITEM_SAME, which is there already, and ITEM_ZERO, whose
 * `place` says whether the disk reads as zeros there anyway. */
enum resolver_answer resolver_disk(struct resolver *resolver, struct batch *batch,
				   const uint8_t expected[TAG_BYTES]);
enum resolver_answer resolver_order(struct resolver *resolver, const struct batch *batch,
				    const uint8_t expected[TAG_BYTES]);
void resolver_zero_disk(struct resolver *resolver, uint32_t disk, uint64_t offset, uint64_t length);
void resolver_clear_disk(struct resolver *resolver, uint32_t disk, uint64_t offset,
			 uint64_t length);
bool resolver_find_block(const struct resolver *resolver, uint32_t place, uint32_t *disk,
			 uint64_t *block);
/* What is known of a block of a disk; is there anything but zeros in the PAGE_TABLE_CHUNK blocks around it? */
void resolver_get_block(const struct resolver *resolver, uint32_t disk, uint64_t block,
			struct page_entry *entry);
bool resolver_is_mixed(const struct resolver *resolver, uint32_t disk, uint64_t block);
/* Seeds, as the sorter's. */
uint32_t resolver_add_seed(struct resolver *resolver, uint64_t bytes);
bool resolver_find_seed(const struct resolver *resolver, uint32_t place, uint32_t *seed,
			uint64_t *block);
