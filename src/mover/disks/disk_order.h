/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be done with a disk besides taking whole blocks (BATCH_DISK), as it travels in a
 * BATCH_ORDER of LINK_MEMORY, in one order with blocks and memory:
 *
 *   0  u8   enum disk_op        8  u64  number, for the answer
 *   1  u8   disk               16  u64  offset
 *   2  u8   1: no hole         24  u64  length
 *   3  u8 x 5  zero            32       BYTES: `length` bytes
 *
 * and the answers, frames of LINK_DISK with the op as their flags:
 *
 *   0  u64  number
 *   8  OPEN: a u64 for each disk, its bytes.  FLUSH: the disk's digest (TAG_BYTES).
 *      READ: u64 offset of this piece, then its bytes.
 *
 * and, for seeds, with 0 as their number:
 *
 *   8  SEEDS: the key of the pages' tags (TAG_KEY_BYTES), a u64 for each seed, its bytes. The first
 *      frame of all.
 *      OFFER: u64 place of a seed's block, and a u64 for it and each that follows: the short tag of its
 *      content, 0: none. OFFERED: that is all for now (no payload).
 *      ASK: u64 numbers of pages (content/seed_pages.h), and the source's answer
 *      PAGES: for each of them SEED_PAGE_BYTES, in that order.
 *      PACE: u64 pages that the destination has read so far, u64 microseconds that its workers waited
 *      for them.
 *
 * All integers are little-endian. There is no answer that says no: what goes wrong at the destination ends
 * the move.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* On the wire: never renumber. */
enum disk_op {
	DISK_OPEN,
	DISK_BYTES,
	DISK_ZERO,
	DISK_TRIM,
	DISK_FLUSH,
	DISK_READ,
	DISK_OP_LAST,
	DISK_SEEDS = DISK_OP_LAST,
	DISK_OFFER,
	DISK_OFFERED,
	DISK_ASK,
	DISK_PAGES,
	DISK_PACE
};

struct disk_order {
	enum disk_op op;
	unsigned disk;
	bool no_hole;
	uint64_t number, offset, length;
};

#define DISK_ORDER_BYTES 32
#define DISK_ANSWER_BYTES 8
#define DISK_READ_PIECE (128 * 1024) /* of an answer */

static inline void disk_put_u64(uint8_t *at, uint64_t value)
{
	for (unsigned i = 0; i < 8; i++)
		at[i] = (uint8_t) (value >> (8 * i));
}

static inline uint64_t disk_get_u64(const uint8_t *at)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < 8; i++)
		value |= (uint64_t) at[i] << (8 * i);
	return value;
}

static inline void disk_put_order(uint8_t *at, const struct disk_order *order)
{
	memset(at, 0, DISK_ORDER_BYTES);
	at[0] = (uint8_t) order->op;
	at[1] = (uint8_t) order->disk;
	at[2] = order->no_hole;
	disk_put_u64(at + 8, order->number);
	disk_put_u64(at + 16, order->offset);
	disk_put_u64(at + 24, order->length);
}

/* False when the LENGTH bytes are no order. */
static inline bool disk_get_order(const uint8_t *at, size_t length, struct disk_order *order)
{
	if (length < DISK_ORDER_BYTES || at[0] >= DISK_OP_LAST || at[2] > 1)
		return false;
	*order = (struct disk_order){ .op = (enum disk_op) at[0],
				      .disk = at[1],
				      .no_hole = at[2],
				      .number = disk_get_u64(at + 8),
				      .offset = disk_get_u64(at + 16),
				      .length = disk_get_u64(at + 24) };
	return length - DISK_ORDER_BYTES == (order->op == DISK_BYTES ? order->length : 0);
}
