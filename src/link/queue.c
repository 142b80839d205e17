/* SPDX-License-Identifier: Apache-2.0 */
/* The sending side of one stream; see queue.h. */
#include "link/queue.h"

#include "base/wait.h"

#include <stdlib.h>

/* So many frames may lie in the largest blocks whatever their length; more are moved into blocks of
 * their size, so that memory follows the payload. */
#define LARGE_UNSHRUNK 16

void queue_init(struct queue *queue, enum link_stream stream, struct pool *pool, uint64_t bytes_max)
{
	*queue = (struct queue){
		.stream = stream,
		.pool = pool,
		.frames_max = wire_streams[stream].frames_max,
		.bytes_max = bytes_max,
		.peer_max = WIRE_WINDOW_MIN,
	};
	bool fixed = stream != LINK_MEMORY;
	window_init(&queue->window, fixed ? bytes_max : WINDOW_MIN, bytes_max);
	queue->ring = g_new0(struct frame *, queue->frames_max);
	wait_cond_init(&queue->space);
}

static struct frame **slot(const struct queue *queue, uint64_t sequence)
{
	return &queue->ring[sequence & (queue->frames_max - 1)];
}

void queue_destroy(struct queue *queue)
{
	for (uint64_t at = queue->consumed; at < queue->committed; at++)
		pool_put(queue->pool, *slot(queue, at));
	g_free(queue->ring);
	pthread_cond_destroy(&queue->space);
}

bool queue_has_space(struct queue *queue)
{
	uint64_t hard = MIN(queue->bytes_max, queue->peer_max);
	if (queue->committed + queue->begun - queue->consumed >= queue->frames_max)
		return false;
	if (queue->bytes >= queue->window.size) {
		window_limited(&queue->window);
		return false;
	}
	return queue->bytes + (uint64_t) (queue->begun + 1) * LINK_PAYLOAD_MAX <= hard;
}

void queue_commit(struct queue *queue, struct frame *frame, int64_t now_us)
{
	if (queue->bytes == 0)
		window_restart(&queue->window, now_us);
	if (pool_room(frame) == LINK_PAYLOAD_MAX && queue->large >= LARGE_UNSHRUNK)
		frame = pool_shrink(queue->pool, frame);
	if (pool_room(frame) == LINK_PAYLOAD_MAX)
		queue->large++;
	frame->public.sequence = queue->committed++;
	frame->state = FRAME_QUEUED;
	queue->bytes += frame->public.length;
	*slot(queue, frame->public.sequence) = frame;
}

bool queue_has_work(const struct queue *queue)
{
	return queue->retries > 0 || queue->fresh < queue->committed;
}

static struct frame *take_retry(struct queue *queue)
{
	while (queue->retries > 0) {
		struct frame *frame = *slot(queue, queue->retry_low++);
		if (frame->state != FRAME_QUEUED)
			continue;
		queue->retries--;
		frame->state = FRAME_SENT;
		if (frame->public.sequence < queue->expected)
			continue; /* it had arrived after all */
		queue->resent++;
		return frame;
	}
	return NULL;
}

struct frame *queue_take(struct queue *queue, int lane)
{
	struct frame *frame = take_retry(queue);
	if (!frame && queue->fresh < queue->committed)
		frame = *slot(queue, queue->fresh++);
	if (!frame)
		return NULL;
	frame->state = FRAME_SENT;
	frame->lane = lane;
	frame->writing = true;
	return frame;
}

void queue_written(struct pool *pool, struct frame *frame)
{
	frame->writing = false;
	if (frame->unwanted)
		pool_put(pool, frame);
}

void queue_lane_lost(struct queue *queue, int lane)
{
	for (uint64_t at = MAX(queue->consumed, queue->expected); at < queue->fresh; at++) {
		struct frame *frame = *slot(queue, at);
		if (frame->state != FRAME_SENT || frame->lane != lane)
			continue;
		frame->state = FRAME_QUEUED;
		frame->lane = -1;
		queue->retry_low = queue->retries++ ? MIN(queue->retry_low, at) : at;
	}
}

static void forget(struct queue *queue, struct frame *frame)
{
	queue->bytes -= frame->public.length;
	if (pool_room(frame) == LINK_PAYLOAD_MAX)
		queue->large--;
	if (frame->state == FRAME_QUEUED)
		queue->retries--;
	if (frame->writing)
		frame->unwanted = true;
	else
		pool_put(queue->pool, frame);
}

bool queue_acknowledge(struct queue *queue, uint64_t consumed, uint64_t expected, int64_t now_us,
		       int64_t round_trip_us)
{
	if (consumed > expected || expected > queue->fresh)
		return false;
	/* News from different lanes overtake each other. */
	queue->expected = MAX(queue->expected, expected);
	if (consumed <= queue->consumed)
		return true;

	if (queue->bytes >= queue->window.size || queue_has_work(queue))
		window_limited(&queue->window);
	uint64_t before = queue->bytes;
	while (queue->consumed < consumed) {
		struct frame **at = slot(queue, queue->consumed++);
		forget(queue, *at);
		*at = NULL;
	}
	queue->consumed_bytes += before - queue->bytes;
	queue->retry_low = MAX(queue->retry_low, queue->consumed);
	window_consumed(&queue->window, before - queue->bytes, now_us, round_trip_us);
	pthread_cond_broadcast(&queue->space);
	return true;
}

bool queue_has_arrived(const struct queue *queue)
{
	return queue->expected == queue->committed;
}

bool queue_is_drained(const struct queue *queue)
{
	return queue->consumed == queue->committed;
}
