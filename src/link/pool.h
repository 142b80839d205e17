/* SPDX-License-Identifier: Apache-2.0 */
/* Frames and the memory they live in.
 *
 * A frame is one block: this struct, room for the wire header, the payload. So header and payload
 * leave in one write, and nothing is copied between the application and TLS.
 * Blocks come in powers of two of payload; freed ones are kept, up to a limit, and reused last in
 * first out while they are still in the cache.
 */
#pragma once
#include <pthread.h>

#include "link/link.h"
#include "link/wire.h"

#define POOL_SMALLEST 4096
#define POOL_CLASSES 7 /* 4 KiB ... LINK_PAYLOAD_MAX */

enum frame_state {
	FRAME_OWNED,  /* by the application, before commit */
	FRAME_QUEUED, /* waits for a lane */
	FRAME_SENT,   /* on a lane or beyond it */
};

struct frame {
	struct link_frame public; /* first: the application's pointer is ours */
	unsigned class;           /* set once by the pool */
	/* The rest is the sender's, under the link's lock. */
	enum frame_state state;
	int lane;      /* that took it last; -1: none */
	bool writing;  /* that lane still reads from it */
	bool unwanted; /* acknowledged meanwhile: that lane frees it */
	struct frame *next_free;
};

struct pool {
	pthread_mutex_t lock;
	struct frame *free[POOL_CLASSES];
	size_t kept_bytes, kept_max; /* in the free lists */
};

void pool_init(struct pool *pool, size_t kept_max);
void pool_destroy(struct pool *pool);
/* A frame with room for LENGTH (at most LINK_PAYLOAD_MAX) bytes, everything else zero. */
struct frame *pool_get(struct pool *pool, size_t length);
void pool_put(struct pool *pool, struct frame *frame);
/* The same frame in the smallest block that holds it; copies if that is another one. */
struct frame *pool_shrink(struct pool *pool, struct frame *frame);
size_t pool_room(const struct frame *frame);
/* Where the wire header starts, WIRE_HEADER_BYTES before the payload. */
static inline uint8_t *frame_wire(struct frame *frame)
{
	return frame->public.data - WIRE_HEADER_BYTES;
}
