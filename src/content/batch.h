/* SPDX-License-Identifier: Apache-2.0 */
/* A piece of QEMU's stream as a list of items: what is worth knowing before it is packed into one
 * frame of the link, and again after it was unpacked.
 *
 * A batch holds whole records only. Its bytes lie in `raw`; a record that is not complete yet stays
 * at the end of it and moves to the next batch (batch_take_tail).
 *
 * Five kinds of batch travel:
 *   BATCH_RAW    the bytes as they are. Neither side remembers anything of them.
 *   BATCH_PLAIN  the bytes as they are; both sides read them and note the tags of the pages. For a
 *                link that is faster than any encoder.
 *   BATCH_ITEMS  the items below; the destination writes the records anew. They mean the
 *                same to QEMU as what the source wrote, but need not be the same bytes: a page that
 *                QEMU has already is left out.
 *   BATCH_DISK   blocks of a disk as the same items: `block` is the disk's number, `page` the block's
 *   BATCH_ORDER  what else is to be done with a disk (mover/disks/disk_order.h), as bytes
 *
 * A batch is checked by the tag of its *content*: of a list that names every page with its own tag,
 * every run of zeros, and the tag of all other bytes. The destination computes it from what it is
 * about to emit and compares before it emits, so a mistake of any encoder is found, and the pages'
 * tags, which both sides need anyway, are not computed a second time.
 *
 * Thread rules: one thread at a time.
 */
#pragma once
#include "content/tag.h"
#include "stream/reader.h"

#define BATCH_RAW_MAX (250 * 1024)   /* bytes of a full batch */
#define BATCH_BODY_MAX (256 * 1024)  /* of its form for the wire before packing */
#define BATCH_ITEMS_MAX 32768        /* no record has fewer than 8 bytes */
#define BATCH_EMIT_MAX BATCH_RAW_MAX /* records are never longer written anew */
#define BATCH_NO_BLOCK UINT32_MAX

enum batch_kind { BATCH_RAW, BATCH_PLAIN, BATCH_ITEMS, BATCH_DISK, BATCH_ORDER, BATCH_KIND_LAST };

#define BATCH_DISK_BLOCK 4096 /* bytes of a disk's block */
#define BATCH_DISK_BLOCKS (BATCH_RAW_MAX / BATCH_DISK_BLOCK)

/* On the wire: never renumber. */
enum item_kind {
	ITEM_BYTES,     /* anything else; `block` if it ends with a page-like record, for which
			 * QEMU leaves out the name of the block if it is that of the last one */
	ITEM_ZERO,      /* `count` zero pages from `page` on */
	ITEM_LITERAL,   /* a page with its content */
	ITEM_SAME,      /* a page that the destination's QEMU has like that already */
	ITEM_REFERENCE, /* a page with the content at `place` of the cache */
	ITEM_DELTA,     /* a page as difference to the content at `place` */
	ITEM_DISK, /* a page with the content of the block at `place` of the disks (content/known.h) */
	ITEM_KIND_LAST
};

struct item {
	enum item_kind kind;
	uint32_t block;
	uint64_t page; /* index in the block */
	uint32_t count;
	uint32_t length;        /* of `data`: BYTES, LITERAL, DELTA */
	uint32_t place;         /* REFERENCE, DELTA, DISK */
	bool tagged;            /* DISK, at the destination: the whole tag is there already */
	const uint8_t *data;    /* in raw, or wherever it was unpacked */
	uint8_t tag[TAG_BYTES]; /* of a page's content; SAME, DISK: its first 8 bytes; BYTES: of
				 * the data */
};

struct batch {
	uint8_t *raw;  /* BATCH_BODY_MAX, of which BATCH_RAW_MAX are for QEMU's bytes */
	size_t filled; /* bytes in raw */
	size_t fed;    /* of them the reader has seen */
	size_t parsed; /* of them belong to whole records */
	size_t body;   /* at most so long will its body be as items */
	struct item *items;
	uint32_t count;
	uint32_t page_bytes;
	bool postcopy;   /* a command after which the destination may throw pages away is in it */
	bool has_blocks; /* the list of RAM blocks is in it: the destination must read it first */

	/* what became of it */
	enum batch_kind kind;
	uint64_t original_bytes; /* of QEMU's stream */
	int64_t asked_us;        /* since when the guest waits for a page in it; 0: it does not */
	uint64_t pages;          /* in it, zeros too: what the destination's QEMU has to do */
	uint64_t seed_pages; /* references to seeds so far, with its own (content/seed_pages.h) */
	uint8_t tag[TAG_BYTES]; /* of the content */
	uint8_t *deltas; /* BATCH_RAW_MAX: storage for ITEM_DELTA's data at the source, for what
				  * is read from disks at the destination */
	size_t deltas_length;
};

struct batch *batch_new(void);
void batch_free(struct batch *batch);
void batch_clear(struct batch *batch);

/* Bytes that may still be added to raw. */
size_t batch_room(const struct batch *batch);
/* Read the bytes that were added to raw: make items of the whole records. Pages are ITEM_LITERAL at
 * first. */
void batch_read(struct batch *batch, struct stream_reader *reader);
/* The end of the input: what is left becomes bytes. */
void batch_flush(struct batch *batch, struct stream_reader *reader);
/* The unfinished record at the end moves to TAIL (STREAM_CARRY_MAX), to begin another batch; returns
 * its length. */
size_t batch_take_tail(struct batch *batch, uint8_t *tail);
void batch_begin(struct batch *batch, const uint8_t *tail, size_t length);

/* Makes an empty BATCH a BATCH_DISK with COUNT blocks of DISK from FIRST on, whose contents lie in raw
 * already; COUNT at most BATCH_DISK_BLOCKS. They are ITEM_LITERAL at first. */
void batch_set_blocks(struct batch *batch, uint32_t disk, uint64_t first, uint32_t count);

/* The tags of the literals, with the context for pages: may be done ahead of the rest. */
void batch_tag_literals(struct batch *batch, struct tag_context *pages);
/* Compute the tag of the content: PAGES is for pages and bytes, LIST for the list of them. The items'
 * own tags must be there, but for BYTES, which are tagged here. */
void batch_seal(struct batch *batch, struct tag_context *pages, struct tag_context *list,
		uint8_t tag[TAG_BYTES]);

/* Is it for a disk, with nothing of QEMU's stream in it? */
static inline bool batch_is_disk(const struct batch *batch)
{
	return batch->kind == BATCH_DISK || batch->kind == BATCH_ORDER;
}

/* Are the BATCH_DISK_BLOCK bytes of a disk's block all zero? */
static inline bool block_is_zero(const uint8_t *block)
{
	return block[0] == 0 && __builtin_memcmp(block, block + 1, BATCH_DISK_BLOCK - 1) == 0;
}

static inline uint64_t item_short_tag(const uint8_t tag[TAG_BYTES])
{
	uint64_t value;
	__builtin_memcpy(&value, tag, sizeof(value));
	return value;
}
