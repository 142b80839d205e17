/* SPDX-License-Identifier: Apache-2.0 */
/* The receiving side of one stream: what has arrived and is not yet consumed.
 *
 *   consumed <= delivered <= expected
 *
 * are sequence numbers: below `expected` everything has arrived, below `delivered` the application
 * has it, below `consumed` it has given it back. Frames beyond `expected` wait in the ring.
 *
 * The peer is bound by what it was told: not more than bytes_max of payload and frames_max frames.
 * All of it under the link's lock.
 */
#pragma once
#include <pthread.h>

#include "link/pool.h"

enum reorder_verdict {
	REORDER_WANTED,
	REORDER_DUPLICATE, /* it is here already: drop it */
	REORDER_BEYOND,    /* more than the window: the peer broke the protocol */
};

struct reorder {
	/* Set once. */
	struct pool *pool;
	uint64_t frames_max, bytes_max;

	/* Under the link's lock. */
	struct frame **ring; /* by sequence modulo frames_max; REORDER_GONE: given back */
	uint64_t consumed, delivered, expected;
	uint64_t bytes, peak_bytes; /* payload arrived and not given back */
	uint64_t final;             /* how many frames there will be; UINT64_MAX: not known */
	bool tell_ack;              /* ACK is to be sent (again) */
	pthread_cond_t arrival;
};

void reorder_init(struct reorder *reorder, enum link_stream stream, struct pool *pool,
		  uint64_t bytes_max);
void reorder_destroy(struct reorder *reorder);

/* A frame announces itself: is there a place for it? */
enum reorder_verdict reorder_judge(const struct reorder *reorder, uint64_t sequence, size_t length);
/* It is here. Takes it over whatever the verdict. */
enum reorder_verdict reorder_insert(struct reorder *reorder, struct frame *frame);
/* The next one for the application, NULL: not yet. */
struct frame *reorder_next(struct reorder *reorder);
/* The application is done with it. Returns false if it never had it. */
bool reorder_done(struct reorder *reorder, struct frame *frame);
/* The peer says where the stream ends. Returns false if that cannot be. */
bool reorder_finish(struct reorder *reorder, uint64_t final);
bool reorder_is_finished(const struct reorder *reorder);
