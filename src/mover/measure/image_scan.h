/* SPDX-License-Identifier: Apache-2.0 */
/* Looks through an image that others may use meanwhile: every block of 4 KiB that is not zero gets its tag and goes
 * into an index (nbd/seed_index.h). At a bounded rate, for the guest's and others' reads come first.
 *
 * Memory: the index, and a piece of 1 MiB. Thread rules: one thread at a time. */
#pragma once
#include "content/tag.h"
#include "nbd/reader.h"
#include "nbd/seed_index.h"

struct image_scan {
	struct tag_context *pages; /* tags of pages and blocks */
	double bytes_s;            /* the most that is read */
	/* Asked between pieces; true: no more. */
	bool (*is_over)(void *data);
	/* Each block that was found, in order. False: no more. NULL: nobody wants to know. */
	bool (*found)(uint64_t block, uint64_t tag, void *data);
	void *data;
	/* its own, over all images that one after the other are looked through */
	int64_t began_ms, bytes;
};

/* True: READER was looked through to its end, and INDEX is whole. */
bool image_scan_run(struct image_scan *scan, struct disk_reader *reader, struct seed_index *index);
