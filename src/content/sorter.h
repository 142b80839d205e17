/* SPDX-License-Identifier: Apache-2.0 */
/* The source's memory of what the destination has: decides for each page of a batch how it
 * travels, and remembers that it did.
 *
 *   same       the page table says that this page had this content when it was sent last
 *   reference  the content is in the cache, because another page had it, or this one earlier
 *   disk       the content is on a disk that moves along, and the destination reads it there
 *   delta      an older version of the page is in the cache, and the difference is small
 *   literal    else: it enters the cache
 *
 * Equality is by a keyed tag (content/tag.h), of which the table keeps 64 bits: two contents that a
 * guest chooses without knowing the key are taken for one with a probability below 2^-55 a
 * comparison (polynomial of degree 257 over GF(2^128), 64 bits of the value looked at). A
 * reference is compared byte for byte besides, and the frame's tag, of 128 bits, covers what is
 * meant by reference and delta.
 *
 * The destination remembers the same by resolving the same batches in the same order
 * (content/resolver.h). No acknowledgement is needed for that: a frame is resolved after all
 * before it, so what it names has always arrived.
 *
 * Memory: as content/known.h says. Thread rules: one thread at a time.
 */
#pragma once
#include "content/batch.h"
#include "content/known.h"

struct sorter_counts {
	uint64_t zero_pages, same_pages, reference_pages, disk_pages, delta_pages, literal_pages,
		plain_pages;
	uint64_t delta_bytes; /* of the deltas, unpacked */
	uint64_t refused_deltas;
};

/* What became of a disk's blocks. */
struct sorter_disk_counts {
	uint64_t zero, same, reference, literal;
};

struct sorter;
/* PAGE_KEY: see known_init(). */
struct sorter *sorter_new(const uint8_t key[TAG_KEY_BYTES], const uint8_t page_key[TAG_KEY_BYTES],
			  const struct known_sizes *sizes);
void sorter_free(struct sorter *sorter);
/* Must be called with the reader's blocks before a batch that has pages. */
void sorter_set_blocks(struct sorter *sorter, const struct stream_reader *reader);

/* Makes BATCH a RAW one: nothing is looked at, nothing remembered. */
void sorter_pass(struct sorter *sorter, struct batch *batch);
/* Makes it an ITEMS one, or a PLAIN one if PLAIN is wanted (or it cannot be anything else). */
void sorter_sort(struct sorter *sorter, struct batch *batch, bool plain);
/* Everything is forgotten, for good: from here on all batches must be RAW. For post-copy, where the
 * destination throws pages away by itself. */
void sorter_forget(struct sorter *sorter);
/* The disks that move along (content/known.h). Once, before any of them is sorted. */
void sorter_set_disks(struct sorter *sorter, const struct known_disk *disks, uint32_t count);
/* BATCH is a BATCH_DISK: decides how each of its blocks travels. */
void sorter_sort_disk(struct sorter *sorter, struct batch *batch);
/* Zeros are written to a disk. False: they are there already, and nothing has to be sent. */
bool sorter_zero_disk(struct sorter *sorter, uint32_t disk, uint64_t offset, uint64_t length);
/* Something is, that nobody looks at. */
void sorter_clear_disk(struct sorter *sorter, uint32_t disk, uint64_t offset, uint64_t length);
/* Seeds: an image of BYTES that the destination has. Returns the place of its first block, or 0. */
uint32_t sorter_add_seed(struct sorter *sorter, uint64_t bytes);
/* The block at PLACE of a seed has, or had, the content with this short tag. */
void sorter_offer(struct sorter *sorter, uint64_t tag, uint32_t place);
/* References to seeds so far (content/seed_pages.h); so many of them are taken in; the content of one. */
uint64_t sorter_seed_count(const struct sorter *sorter);
void sorter_seeds_taken(struct sorter *sorter, uint64_t count);
const uint8_t *sorter_seed_page(const struct sorter *sorter, uint64_t number);
/* Does it pay to refer to blocks of disks and seeds (content/reading.h)? True at first. */
void sorter_use_disks(struct sorter *sorter, bool use);
/* The tag of an order for a disk. */
void sorter_seal_order(struct sorter *sorter, struct batch *batch);
const struct sorter_counts *sorter_counts(const struct sorter *sorter);
const struct sorter_disk_counts *sorter_disk_counts(const struct sorter *sorter, uint32_t disk);
