/* SPDX-License-Identifier: Apache-2.0 */
/* The sending side of one stream: what was committed and is not yet consumed at the peer.
 *
 *   consumed <= expected <= fresh <= committed
 *
 * are sequence numbers: below `consumed` the peer's application has used the frames up and we have
 * forgotten them; below `expected` they have arrived; from `fresh` on no lane has taken them yet.
 * Between consumed and fresh a frame is sent, or queued again because its lane broke.
 *
 * All of it under the link's lock; the memory of a frame that a lane is writing is left alone.
 */
#pragma once
#include <pthread.h>

#include "link/pool.h"
#include "link/window.h"

struct queue {
	/* Set once. */
	enum link_stream stream;
	struct pool *pool;
	uint64_t frames_max;
	uint64_t bytes_max; /* what this side may hold of it */

	/* Under the link's lock. */
	struct frame **ring; /* by sequence modulo frames_max */
	uint64_t consumed, expected, fresh, committed;
	uint64_t retries, retry_low; /* frames queued again, none of them below retry_low */
	uint64_t bytes;              /* payload committed and not consumed */
	uint64_t consumed_bytes;     /* payload, since the beginning */
	uint64_t peer_max;           /* what the peer can hold */
	unsigned begun;              /* frames the application is filling */
	unsigned large;              /* committed frames in blocks of the largest class */
	uint64_t resent;
	struct window window;
	bool finished;    /* no more commits */
	bool tell_finish; /* FINISH is to be sent (again) */
	pthread_cond_t space;
};

void queue_init(struct queue *queue, enum link_stream stream, struct pool *pool,
		uint64_t bytes_max);
void queue_destroy(struct queue *queue);

/* May the application begin a frame now? */
bool queue_has_space(struct queue *queue);
/* A filled frame; takes it over. */
void queue_commit(struct queue *queue, struct frame *frame, int64_t now_us);
/* Is there a frame to send? */
bool queue_has_work(const struct queue *queue);
/* The next frame for LANE: broken ones again first, else the next fresh one. */
struct frame *queue_take(struct queue *queue, int lane);
/* The lane does not read from the frame any more. */
void queue_written(struct pool *pool, struct frame *frame);
/* LANE broke: what it had taken and what is not known to have arrived goes out again. */
void queue_lane_lost(struct queue *queue, int lane);
/* What the peer said. Returns false if that cannot be. */
bool queue_acknowledge(struct queue *queue, uint64_t consumed, uint64_t expected, int64_t now_us,
		       int64_t round_trip_us);
/* All committed frames have arrived. */
bool queue_has_arrived(const struct queue *queue);
/* All committed frames are consumed. */
bool queue_is_drained(const struct queue *queue);
