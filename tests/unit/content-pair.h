/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of src/content share: both halves of the way of the data without a link between
 * them, a guest whose memory changes, and a receiver that keeps what the stream means, as QEMU
 * would.
 */
#pragma once
#include <glib.h>

#include "content/body.h"
#include "content/codec.h"
#include "content/known.h"
#include "content/resolver.h"
#include "content/sorter.h"

#define GUEST_PAGE 4096
#define PAIR_EFFORTS 5

/* ---- the guest and its stream ---- */

enum guest_change {
	CHANGE_NOTHING, /* dirty all the same */
	CHANGE_BYTES,   /* a few */
	CHANGE_ALL,     /* random bytes */
	CHANGE_TEXT,    /* something that packs well */
	CHANGE_COPY,    /* of another page */
	CHANGE_ZERO,
	CHANGE_LAST
};

struct guest {
	uint32_t pages[2]; /* of its blocks "a" and "b" */
	uint8_t *memory;   /* both, one after the other */
	GRand *rand;
};

struct guest *guest_new(uint32_t pages_a, uint32_t pages_b, uint32_t seed);
void guest_free(struct guest *guest);
void guest_change(struct guest *guest, uint32_t page, enum guest_change change);
/* Pieces of its stream, appended to OUT. A page's number counts through both blocks. */
void guest_put_start(const struct guest *guest, GByteArray *out);
void guest_put_part(GByteArray *out);
void guest_put_page(const struct guest *guest, GByteArray *out, uint32_t page, int *last_block);
void guest_put_part_end(GByteArray *out);
void guest_put_end(GByteArray *out, size_t device_bytes);

/* ---- what a stream means ---- */

struct meaning {
	struct stream_reader *reader;
	GHashTable *pages; /* block << 40 | page: 64 bits of the content's checksum + 1 */
	GChecksum *others; /* all that is not a page */
	uint64_t page_records, bytes;
};

struct meaning *meaning_new(void);
void meaning_free(struct meaning *meaning);
void meaning_add(struct meaning *meaning, const uint8_t *bytes, size_t length);
void meaning_assert_same(struct meaning *one, struct meaning *other);

/* ---- the two halves ---- */

struct frame {
	enum batch_kind kind;
	enum codec_method method;
	uint32_t body;
	uint8_t tag[TAG_BYTES];
	uint8_t *data;
	size_t length;
};

struct pair {
	struct known_sizes sizes;
	struct tag_context *tags;

	struct stream_reader *source_reader;
	struct sorter *sorter;
	struct packer *packer;
	struct body *body;
	struct batch *out;
	uint8_t tail[STREAM_CARRY_MAX];
	bool plain;                 /* sort as PLAIN */
	struct codec_effort effort; /* of the next batches */
	uint64_t wire_bytes, original_bytes;
	/* An encoder that lies, between sorting and the body: true if it did. */
	bool (*lie)(struct batch *batch, void *data);
	void *lie_data;
	unsigned lies;

	struct stream_reader *destination_reader;
	struct resolver *resolver;
	struct unpacker *unpacker;
	struct batch *in;
	uint8_t *records;
	enum resolver_answer answer; /* of the last frame that was unpacked */
	bool trusting; /* for fuzzing: what is different from what was sent is taken all the same */
	struct meaning *sent, *emitted; /* NULL: not kept */
};

struct pair *pair_new(uint64_t memory_limit);
/* Only what pair_decode() needs; keeps no meanings. */
struct pair *pair_new_destination(uint64_t memory_limit);
void pair_free(struct pair *pair);
/* QEMU writes these bytes; all frames that come of them go across. False at the first one that the
 * destination refuses. */
bool pair_send(struct pair *pair, const uint8_t *bytes, size_t length);
/* Of PAIR_EFFORTS: store, LZ4, zstd 1, a stream of level 1, one of level 3. */
const struct codec_effort *pair_effort(unsigned number);
/* The two halves of pair_send() for one batch of what QEMU writes; *LENGTH becomes what is left over.
 * No data: nothing is complete yet. */
struct frame pair_encode_bytes(struct pair *pair, const uint8_t *bytes, size_t *length);
bool pair_decode(struct pair *pair, const struct frame *frame);
void frame_free(struct frame *frame);
