/* SPDX-License-Identifier: Apache-2.0 */
/* A batch's form for the wire, before it is packed and after it was unpacked.
 *
 *   all others:     the bytes as they are
 *   ITEMS and DISK: original_bytes, log2(page size), length of the table; the table; then the data of
 *                   all BYTES and all DELTAs, 8 bytes of the tag of each DISK, and the data of all
 *                   LITERALs, each in order. Like stands by like, which is what packs best.
 *
 * All numbers are little-endian base 128. The table is a list of runs
 *
 *   (count << 3 | kind) and then
 *     BYTES       count is their length; block + 1 where a page-like record ends them, else 0
 *     ZERO        one item of `count` pages: distance
 *     LITERAL     `count` items on consecutive pages: distance
 *     SAME        likewise
 *     REFERENCE   likewise, and for each page the distance of its place
 *     DISK        likewise
 *     DELTA       likewise, and for each page the distance of its place and the length of its data
 *     7           the block from here on is number `count`
 *
 * A distance of a page is counted from the page after the last one in this batch, that of a place
 * from the place after the last one; both zigzag.
 */
#pragma once
#include "content/batch.h"
#include "content/codec.h"

#define BODY_PARTS_MAX 512
#define BODY_TABLE_MAX BATCH_BODY_MAX

struct body {
	uint8_t *table; /* BODY_TABLE_MAX */
	size_t table_length;
	struct codec_part parts[BODY_PARTS_MAX];
	unsigned part_count;
	size_t length; /* of all parts */
};

struct body *body_new(void);
void body_free(struct body *body);
/* Can the batch travel as ITEMS? If not it must be PLAIN. */
bool body_fits(const struct batch *batch);
/* The parts of BATCH's body. They point into the batch and BODY. */
void body_write(struct body *body, const struct batch *batch);

/* Items of BATCH from the LENGTH bytes of an ITEMS body; their data points into BYTES. BYTES may be
 * anything: false when it is no such body. Of blocks, pages and places only the form is checked. */
bool body_read(struct batch *batch, const uint8_t *bytes, size_t length);
