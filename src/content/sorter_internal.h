/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the sorter: what its files share (sorter.c for memory, sorter_disk.c for disks). */
#pragma once
#include "content/content_index.h"
#include "content/seed_pages.h"
#include "content/sorter.h"

#define SORTER_REGIONS 4096 /* remembered, by hash */

struct region {
	uint8_t failures, pause;
};

struct sorter {
	struct known known;
	struct content_index *index;      /* to the cache */
	struct content_index *disk_index; /* to blocks of disks and seeds */
	struct seed_pages *seed_pages;    /* NULL: there are no seeds */
	struct region regions[SORTER_REGIONS];
	bool forgotten;
	bool disks_slow; /* sending is faster than what the destination reads */
	struct sorter_counts counts;
	struct sorter_disk_counts disk_counts[KNOWN_DISKS_MAX];
};

/* Is ITEM's content in the cache; on a disk, where the destination can read it? Says where. */
bool sorter_is_reference(struct sorter *sorter, struct item *item);
bool sorter_is_on_disk(struct sorter *sorter, struct item *item);
