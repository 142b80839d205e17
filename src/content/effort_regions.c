/* SPDX-License-Identifier: Apache-2.0 */
/* Regions of a guest's memory where an encoder gains nothing. */
#include "content/effort_regions.h"

#include <glib.h>

#define SLOTS 4096 /* with 64 MiB a region: 256 GiB that are remembered side by side */
#define PACK_GAINS 0.95

struct regions {
	struct region slots[SLOTS];
};

struct regions *regions_new(void)
{
	return g_new0(struct regions, 1);
}

void regions_free(struct regions *regions)
{
	g_free(regions);
}

struct region *regions_find(struct regions *regions, uint64_t number)
{
	uint64_t hash = (number + 1) * UINT64_C(0x9e3779b97f4a7c15);
	uint32_t key = (uint32_t) hash | 1; /* 0: never used */
	struct region *region = &regions->slots[hash >> 52];
	_Static_assert(SLOTS == 1 << (64 - 52), "the upper bits choose the slot");
	if (region->key != key)
		*region = (struct region){ .key = key };
	return region;
}

bool region_wants_pack(struct region *region, unsigned effort)
{
	/* What a lower effort could not do, a higher one may. */
	if (region->pack_strikes < REGION_STRIKES || effort > region->pack_effort)
		return true;
	if (++region->pack_wait < REGION_PACK_PROBE)
		return false;
	region->pack_wait = 0;
	return true;
}

void region_note_pack(struct region *region, unsigned effort, uint64_t original, uint64_t packed)
{
	if ((double) packed <= PACK_GAINS * (double) original) {
		region->pack_strikes = 0;
		region->pack_effort = 0;
		return;
	}
	if (region->pack_strikes < REGION_STRIKES)
		region->pack_strikes++;
	region->pack_effort = (uint8_t) MAX(region->pack_effort, effort);
}
