/* SPDX-License-Identifier: Apache-2.0 */
/* Where content with a given tag can be had: a lossy bounded map from 8 bytes of a tag to a place.
 *
 * Only the source keeps one: it says what may be referred to; whether the bytes are still there is
 * for the caller to know. Buckets of one cache line with five entries, the newest first, so that
 * the oldest of the bucket makes room. Tags are keyed (content/tag.h): nobody outside can aim at a
 * bucket. Deterministic.
 *
 * Memory: bytes_max, rounded down to whole buckets; what was never written takes none.
 * Thread rules: one thread at a time.
 */
#pragma once
#include <stdint.h>

#define CONTENT_INDEX_NONE 0 /* a place that is none */

struct content_index;
struct content_index *content_index_new(uint64_t bytes_max);
void content_index_free(struct content_index *index);
/* CONTENT_INDEX_NONE when it is not known. */
uint32_t content_index_get(const struct content_index *index, uint64_t tag);
/* Replaces what was there for this tag; CONTENT_INDEX_NONE removes it. */
void content_index_put(struct content_index *index, uint64_t tag, uint32_t place);
uint64_t content_index_bytes(const struct content_index *index);
