/* SPDX-License-Identifier: Apache-2.0 */
/* Looks through an image block by block. See image_scan.h. */
#include "mover/measure/image_scan.h"

#include "base/clock.h"
#include "content/batch.h"

#define PIECE (1024 * 1024) /* read at once */

static void keep_scan_rate(struct image_scan *scan, uint32_t bytes)
{
	scan->bytes += bytes;
	double due_ms = (double) scan->bytes / scan->bytes_s * 1000;
	double ahead_ms = due_ms - (double) (clock_now_ms() - scan->began_ms);
	if (ahead_ms >= 1)
		g_usleep((gulong) (ahead_ms * 1000));
}

static bool index_piece(struct image_scan *scan, struct seed_index *index,
			const struct disk_piece *piece)
{
	for (uint32_t at = 0; at + BATCH_DISK_BLOCK <= piece->length; at += BATCH_DISK_BLOCK) {
		uint8_t tag[TAG_BYTES];
		uint64_t block = (piece->offset + at) / BATCH_DISK_BLOCK;
		if (block_is_zero(piece->data + at))
			continue;
		tag_compute(scan->pages, piece->data + at, BATCH_DISK_BLOCK, tag);
		struct seed_entry entry = { .tag = item_short_tag(tag), .block = (uint32_t) block };
		g_array_append_val(index->entries, entry);
		if (index->entries->len == SEED_INDEX_MAX ||
		    (scan->found && !scan->found(block, entry.tag, scan->data)))
			return false;
	}
	return true;
}

static bool scan_extent(struct image_scan *scan, struct disk_reader *reader,
			struct seed_index *index, uint64_t offset, uint64_t end, uint8_t *buffer)
{
	while (offset < end && !scan->is_over(scan->data)) {
		struct disk_piece piece = { offset, (uint32_t) MIN(end - offset, PIECE), buffer };
		if (!disk_reader_read(reader, &piece, 1, NULL) || !index_piece(scan, index, &piece))
			return false;
		keep_scan_rate(scan, piece.length);
		offset += piece.length;
	}
	return offset >= end;
}

bool image_scan_run(struct image_scan *scan, struct disk_reader *reader, struct seed_index *index)
{
	g_autofree uint8_t *buffer = g_malloc(PIECE);
	uint64_t offset = 0, start, end, size = disk_reader_size(reader);
	bool good = true;
	while (good && offset < size && !scan->is_over(scan->data)) {
		if (!disk_reader_find_data(reader, offset, &start, &end, NULL))
			return false;
		start -= start % BATCH_DISK_BLOCK;
		start = MAX(start, offset);
		end = MIN((end + BATCH_DISK_BLOCK - 1) / BATCH_DISK_BLOCK * BATCH_DISK_BLOCK, size);
		good = scan_extent(scan, reader, index, start, end, buffer);
		offset = end;
	}
	return good && offset >= size;
}
