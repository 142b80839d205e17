/* SPDX-License-Identifier: Apache-2.0 */
/* The contents of what was referred to in seeds and is not yet taken in by the destination: a seed may have
 * changed, and then the destination asks for the page itself.
 *
 * Both sides count references to seeds in the order in which they travel; that is a page's number. When
 * there is no room a page travels as its bytes: so a destination that reads slowly, or a link with a
 * long round trip, gets fewer references and more bytes by itself.
 *
 * Memory: SEED_PAGES_MAX pages, touched as they are used. Thread rules: one thread at a time.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define SEED_PAGE_BYTES 4096
#define SEED_PAGES_MAX 8192

struct seed_pages;
struct seed_pages *seed_pages_new(void);
void seed_pages_free(struct seed_pages *pages);
/* False: there is no room. */
bool seed_pages_add(struct seed_pages *pages, const uint8_t *page);
/* How many were added, ever. */
uint64_t seed_pages_count(const struct seed_pages *pages);
/* The first COUNT of them are taken in. */
void seed_pages_release(struct seed_pages *pages, uint64_t count);
/* Page NUMBER, from 0 on; NULL: it is not here (any more). */
const uint8_t *seed_pages_get(const struct seed_pages *pages, uint64_t number);
