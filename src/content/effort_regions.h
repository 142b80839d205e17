/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of the regions of a guest's memory: where compression gains nothing. Part of
 * content/effort.h; nobody else needs it.
 *
 * A bounded table that forgets: a region of another number takes the place of the older one, and
 * what is forgotten is learnt again within two batches.
 *
 * Thread rules: one thread at a time.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define REGION_STRIKES 2     /* so often in a row it gained nothing: stop */
#define REGION_PACK_PROBE 16 /* every so many batches it is tried again */

struct region {
	uint32_t key;
	uint8_t pack_strikes;
	uint8_t pack_effort; /* the highest that gained nothing */
	uint16_t pack_wait;  /* batches since the last try */
};

struct regions;
struct regions *regions_new(void);
void regions_free(struct regions *regions);
/* The region's entry, fresh when it was not there. Valid until the next call. */
struct region *regions_find(struct regions *regions, uint64_t number);

/* Should a batch of this region be packed with EFFORT? Counts the batches that are not. */
bool region_wants_pack(struct region *region, unsigned effort);
void region_note_pack(struct region *region, unsigned effort, uint64_t original, uint64_t packed);
