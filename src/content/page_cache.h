/* SPDX-License-Identifier: Apache-2.0 */
/* The contents that both sides still hold: a ring of the pages that travelled last as literals.
 *
 * The n-th literal of a migration (n = 1, 2, ...) is its place; it lies in slot n modulo the size of
 * the ring, on both sides alike, so that a place says which content is meant and nothing has to be
 * said about eviction: what is older than the ring is gone. A page enters at its first send, so
 * that equal pages soon after it become references, and again whenever it has to travel as a
 * literal; one that changes a little each time travels as a delta against the copy that is here and
 * does not enter again, so hot pages do not push each other out.
 *
 * Memory: the ring, touched as it fills. Thread rules: one thread at a time.
 */
#pragma once
#include <stdint.h>

struct page_cache;
/* At most BYTES_MAX; both sides must say the same. */
struct page_cache *page_cache_new(uint64_t bytes_max);
void page_cache_free(struct page_cache *cache);
/* Keeps a copy of PAGE and returns its place; 0 when the cache cannot hold even one page. All pages
 * of a migration have one size; a change of it empties the cache. */
uint32_t page_cache_add(struct page_cache *cache, const uint8_t *page, uint32_t page_bytes);
/* The content at PLACE, NULL if it is not (any more) there. Valid until the next add. */
const uint8_t *page_cache_get(const struct page_cache *cache, uint32_t place, uint32_t page_bytes);
