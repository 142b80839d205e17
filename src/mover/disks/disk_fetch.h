/* SPDX-License-Identifier: Apache-2.0 */
/* Reads blocks of the destination's disks that memory or other blocks refer to: merged, many at a time, by
 * the workers, ahead of the order in which batches are emitted. Whether a block is the one that was
 * meant, its tag says.
 *
 * Thread rules: any thread, but for new and free.
 */
#pragma once
#include "content/resolver.h"
#include "mover/core/transfer.h"

struct disk_fetch;
/* The seeds of RUN; RESOLVER knows all places. */
struct disk_fetch *disk_fetch_new(struct transfer *transfer, const struct resolver *resolver);
/* And its disks, once their exports are there: before anything refers to them. */
bool disk_fetch_open(struct disk_fetch *fetch, GError **error);
void disk_fetch_free(struct disk_fetch *fetch);
/* What it has read so far, and how long that took. */
void disk_fetch_pace(struct disk_fetch *fetch, uint64_t *pages, uint64_t *us);
/* See disk_destination_fetch(). NULL as FETCH: nothing can be read. */
void disk_fetch_batch(struct disk_fetch *fetch, struct batch *batch, struct tag_context *pages);
struct disk_reader *disk_fetch_reader(const struct disk_fetch *fetch, unsigned disk);
bool disk_fetch_is_seed(uint32_t place);
bool disk_fetch_find(const struct disk_fetch *fetch, uint32_t place, uint32_t *disk,
		     uint64_t *block);
