/* SPDX-License-Identifier: Apache-2.0 */
/* What both sides know of the blocks of disks. */
#include "content/known.h"

#include <glib.h>

#define BLOCK ((uint64_t) BATCH_DISK_BLOCK)
#define TOUCHED (1ull << 30) /* what one bit stands for */

/* What a disk of so many blocks takes of the table, at the least. */
static uint64_t disk_directory_bytes(uint64_t blocks)
{
	return blocks / PAGE_TABLE_CHUNK * sizeof(uint32_t);
}

static void set_disk(struct known *known, uint32_t i, const struct known_disk *disk,
		     uint64_t *place)
{
	struct known_disk *mine = &known->disks[i];
	*mine = *disk;
	mine->blocks = disk->bytes / BLOCK;
	bool fits = mine->blocks <= KNOWN_SEED_PLACES - *place;
	mine->first_place = fits ? (uint32_t) *place : 0;
	*place += fits ? mine->blocks : 0;
	mine->touched = disk->fresh ? g_malloc0(disk->bytes / TOUCHED / 8 + 1) : NULL;
}

void known_set_disks(struct known *known, const struct known_disk *disks, uint32_t count)
{
	uint64_t blocks[KNOWN_DISKS_MAX], place = 1, left = known->blocks_bytes / 2;
	known->disk_count = MIN(count, KNOWN_DISKS_MAX);
	for (uint32_t i = 0; i < known->disk_count; i++) {
		set_disk(known, i, &disks[i], &place);
		bool fits = disk_directory_bytes(known->disks[i].blocks) <= left;
		blocks[i] = fits ? known->disks[i].blocks : 0;
		left -= disk_directory_bytes(blocks[i]);
	}
	page_table_set_blocks(known->blocks, blocks, known->disk_count);
	for (uint32_t i = 0; i < known->disk_count; i++)
		if (known->disks[i].fresh)
			page_table_put_zero_run(known->blocks, i, 0, blocks[i]);
}

void known_clear_disks(struct known *known)
{
	for (uint32_t i = 0; i < known->disk_count; i++)
		g_free(known->disks[i].touched);
	page_table_free(known->blocks);
}

/* ---- what was never written to ---- */

static void touch(struct known *known, uint32_t disk, uint64_t offset, uint64_t length)
{
	uint8_t *touched = known->disks[disk].touched;
	if (!touched || length == 0 || offset >= known->disks[disk].bytes)
		return;
	uint64_t last = MIN(offset + length, known->disks[disk].bytes) - 1;
	for (uint64_t at = offset / TOUCHED; at <= last / TOUCHED; at++)
		touched[at / 8] |= (uint8_t) (1u << at % 8);
}

static bool is_untouched(const struct known *known, uint32_t disk, uint64_t offset, uint64_t length)
{
	const uint8_t *touched = known->disks[disk].touched;
	if (!touched || length == 0 || offset >= known->disks[disk].bytes ||
	    length > known->disks[disk].bytes - offset)
		return false;
	for (uint64_t at = offset / TOUCHED; at <= (offset + length - 1) / TOUCHED; at++)
		if (touched[at / 8] >> at % 8 & 1)
			return false;
	return true;
}

uint32_t known_add_seed(struct known *known, uint64_t bytes)
{
	const struct known_disk *last =
		known->seed_count ? &known->seeds[known->seed_count - 1] : NULL;
	uint64_t place = last ? last->first_place + last->blocks : KNOWN_SEED_PLACES;
	uint64_t blocks = bytes / BLOCK;
	if (known->seed_count == KNOWN_SEEDS_MAX || place + blocks > UINT32_MAX)
		return 0;
	known->seeds[known->seed_count++] = (struct known_disk){ .bytes = bytes,
								 .blocks = blocks,
								 .first_place = (uint32_t) place };
	return (uint32_t) place;
}

static bool find_block_place(const struct known_disk *disks, uint32_t count, uint32_t place,
			     uint32_t *disk, uint64_t *block)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct known_disk *at = &disks[i];
		if (!at->first_place || place < at->first_place ||
		    place - at->first_place >= at->blocks)
			continue;
		*disk = i;
		*block = place - at->first_place;
		return true;
	}
	return false;
}

bool known_find_block(const struct known *known, uint32_t place, uint32_t *disk, uint64_t *block)
{
	return find_block_place(known->disks, known->disk_count, place, disk, block);
}

bool known_find_seed(const struct known *known, uint32_t place, uint32_t *seed, uint64_t *block)
{
	return find_block_place(known->seeds, known->seed_count, place, seed, block);
}

uint32_t known_place_of(const struct known *known, uint32_t disk, uint64_t block)
{
	uint32_t first = known->disks[disk].first_place;
	return first ? first + (uint32_t) block : 0;
}

bool known_is_zero(const struct known *known, uint32_t disk, uint64_t offset, uint64_t length)
{
	uint64_t first = offset / BLOCK, end = (offset + length + BLOCK - 1) / BLOCK;
	if (is_untouched(known, disk, offset, length))
		return true;
	return page_table_is_zero(known->blocks, disk, first, end - first);
}

void known_forget_range(struct known *known, uint32_t disk, uint64_t offset, uint64_t length)
{
	const struct page_entry unknown = { .kind = PAGE_UNKNOWN };
	uint64_t end = (offset + length + BLOCK - 1) / BLOCK;
	touch(known, disk, offset, length);
	for (uint64_t block = offset / BLOCK; block < end; block++)
		page_table_put(known->blocks, disk, block, &unknown);
}

void known_note_zeros(struct known *known, uint32_t disk, uint64_t offset, uint64_t length)
{
	uint64_t first = (offset + BLOCK - 1) / BLOCK, end = (offset + length) / BLOCK;
	if (offset % BLOCK)
		known_forget_range(known, disk, offset, 1);
	if ((offset + length) % BLOCK)
		known_forget_range(known, disk, offset + length - 1, 1);
	if (first < end)
		page_table_put_zero_run(known->blocks, disk, first, end - first);
}

void known_note_block(struct known *known, const struct item *item)
{
	struct page_entry entry = { .kind = PAGE_CONTENT, .tag = item_short_tag(item->tag) };
	if (item->kind == ITEM_ZERO) {
		page_table_put_zero_run(known->blocks, item->block, item->page, item->count);
	} else {
		touch(known, item->block, item->page * BLOCK, BLOCK);
		page_table_put(known->blocks, item->block, item->page, &entry);
	}
}
