/* SPDX-License-Identifier: Apache-2.0 */
/* The destination's workers: frames of the link into batches, given out in their order.
 *
 * Workers unpack side by side and run ahead of the emitter by at most the number of batches. What
 * needs the order (references, the tables, the tag) is left to the emitter (content/resolver.h).
 *
 * Memory: as many batches as the encoders have, and the windows of FRAME_STREAMS codec streams.
 */
#pragma once
#include "content/batch.h"
#include "mover/core/transfer.h"

struct decoded {
	struct batch *batch; /* the body lies in raw; ITEMS are read and their literals tagged */
	size_t body;         /* its length */
	struct link_frame *frame; /* for tag and sequence; its bytes are used up */
};

struct decoders;
struct decoders *decoders_start(struct transfer *transfer, GError **error);
void decoders_free(struct decoders *decoders);

/* The next batch in order; false at the end of the stream, or when the move was refused. */
bool decoders_next(struct decoders *decoders, struct decoded *decoded);
/* It was emitted: acknowledges the frame. */
void decoders_done(struct decoders *decoders, const struct decoded *decoded);
/* The emitter gives up: the workers end. */
void decoders_stop(struct decoders *decoders);
