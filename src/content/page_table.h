/* SPDX-License-Identifier: Apache-2.0 */
/* What one side knows of each page of the guest as it was emitted last: nothing, that it is zero,
 * or the tag of its content and a place where the caller keeps something about it.
 *
 * Both sides keep one and must remember the same things, because the source refers to what it
 * believes the destination knows. So what is forgotten follows from the blocks, the bound and the
 * sequence of puts alone: two tables made with the same bound and fed the same calls always answer
 * the same.
 *
 * Memory: 4 bytes for every 512 pages of the guest, and 12.25 bytes a page for those chunks of 512
 * pages that have a page with content or zero pages with a gap between them. Pages of a chunk that
 * are one run of zeros need nothing more: a terabyte that is all zeros takes 2 MiB. The rule when
 * all of bytes_max is used: a chunk that has no storage gets none until another chunk needs it no
 * more (all zero or all unknown), and remembers one run of zeros at most, the longer one of two,
 * the earlier one of equals. Where the 4 bytes a chunk do not fit, nothing is remembered.
 *
 * Thread rules: one thread at a time.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_TABLE_CHUNK 512 /* pages: 2 MiB of a guest with pages of 4 KiB */

enum page_kind { PAGE_UNKNOWN, PAGE_ZERO, PAGE_CONTENT };

struct page_entry {
	enum page_kind kind;
	uint32_t place; /* PAGE_CONTENT: the caller's; 0 = none by convention */
	uint64_t tag;   /* PAGE_CONTENT: of the content */
};

struct page_table;
struct page_table *page_table_new(uint64_t bytes_max);
void page_table_free(struct page_table *table);
/* Once, before anything is put: the sizes of the guest's RAM blocks. They may be any numbers. */
void page_table_set_blocks(struct page_table *table, const uint64_t *pages_of_block,
			   uint32_t blocks);
/* False when nothing is known; OUT is PAGE_UNKNOWN then. Any block and page may be asked for. */
bool page_table_get(const struct page_table *table, uint32_t block, uint64_t page,
		    struct page_entry *out);
/* Replaces what was known of the page, if only by nothing. A PAGE_UNKNOWN entry forgets it. Pages
 * outside the blocks are ignored. */
void page_table_put(struct page_table *table, uint32_t block, uint64_t page,
		    const struct page_entry *entry);
/* As PAGE_ZERO for each of COUNT pages; what lies outside the block is ignored. Takes time in
 * proportion to COUNT / 512. */
void page_table_put_zero_run(struct page_table *table, uint32_t block, uint64_t first,
			     uint64_t count);
/* Are all of COUNT pages known to be zero? False when one of them is outside the block. Takes time in
 * proportion to COUNT / 512. */
bool page_table_is_zero(const struct page_table *table, uint32_t block, uint64_t first,
			uint64_t count);
/* Does the chunk of PAGE_TABLE_CHUNK pages with this one hold more than zeros and what is unknown? */
bool page_table_is_mixed(const struct page_table *table, uint32_t block, uint64_t page);
/* Everything unknown again; the blocks stay. */
void page_table_clear(struct page_table *table);
/* Allocated now; never more than bytes_max and a small constant. */
uint64_t page_table_bytes(const struct page_table *table);
