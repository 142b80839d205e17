/* SPDX-License-Identifier: Apache-2.0 */
/* The contents that both sides still hold: the pages that travelled last as literals.
 *
 * The n-th literal of a migration (n = 1, 2, ...) is its place, on both sides alike. A page enters at
 * its first send, so that equal pages soon after it become references, and again whenever it has to
 * travel as a literal; one that changes a little each time travels as a delta against the copy that
 * is here and does not enter again, so hot pages do not push each other out.
 *
 * The newest lie in a ring as they are, half of the memory; when they leave it they are packed
 * (LZ4, 1.5 us to unpack) into a second ring, which holds two to three times as many; from there the
 * oldest go. What LZ4 makes of a page may differ a little between its versions, so the destination
 * keeps more than the source: it must have all that the source believes it has.
 *
 * Memory: bytes_max, and 1/16 more at the destination; touched as it fills.
 * Thread rules: one thread at a time.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct page_cache;
/* Both sides must say the same BYTES_MAX. */
struct page_cache *page_cache_new(uint64_t bytes_max, bool destination);
void page_cache_free(struct page_cache *cache);
/* Keeps a copy of PAGE and returns its place; 0 when the cache cannot hold even one page. All pages
 * of a migration have one size; a change of it empties the cache. */
uint32_t page_cache_add(struct page_cache *cache, const uint8_t *page, uint32_t page_bytes);
/* The content at PLACE, NULL if it is not (any more) there. Valid until the next call. */
const uint8_t *page_cache_get(struct page_cache *cache, uint32_t place, uint32_t page_bytes);
