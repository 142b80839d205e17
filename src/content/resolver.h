/* SPDX-License-Identifier: Apache-2.0 */
/* The destination's memory of what it has handed to QEMU: turns batches back into records of QEMU's
 * stream, in order, and checks each before it is emitted. The other half of content/sorter.h.
 *
 * Thread rules: one thread at a time.
 */
#pragma once
#include "content/batch.h"
#include "content/known.h"

struct resolver;
struct resolver *resolver_new(const uint8_t key[TAG_KEY_BYTES], const struct known_sizes *sizes);
void resolver_free(struct resolver *resolver);
/* As the sorter's: after the batch that brought the block list was emitted. */
void resolver_set_blocks(struct resolver *resolver, const struct stream_reader *reader);

/* Why a batch cannot be emitted. */
enum resolver_answer {
	RESOLVER_GOOD,
	RESOLVER_DAMAGED,  /* it names what is not there: blocks, places, pages */
	RESOLVER_DIFFERENT /* its content is not what the source sent */
};

/* A RAW batch: EXPECTED is the tag of its bytes (raw, `parsed` of them). */
enum resolver_answer resolver_pass(struct resolver *resolver, const struct batch *batch,
				   const uint8_t expected[TAG_BYTES]);
/* A PLAIN batch that batch_read() has read. */
enum resolver_answer resolver_plain(struct resolver *resolver, struct batch *batch,
				    const uint8_t expected[TAG_BYTES]);
/* An ITEMS batch whose literals are tagged. Writes the records to OUT (BATCH_EMIT_MAX), *LENGTH of
 * them; names of blocks come from READER. */
enum resolver_answer resolver_items(struct resolver *resolver, struct batch *batch,
				    const struct stream_reader *reader,
				    const uint8_t expected[TAG_BYTES], uint8_t *out,
				    size_t *length);
