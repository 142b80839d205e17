/* SPDX-License-Identifier: Apache-2.0 */
/* The receiving side of one stream; see reorder.h. */
#include "link/reorder.h"

#include "base/wait.h"

static struct frame gone;
#define REORDER_GONE (&gone)

void reorder_init(struct reorder *reorder, enum link_stream stream, struct pool *pool,
		  uint64_t bytes_max)
{
	*reorder = (struct reorder){
		.pool = pool,
		.frames_max = wire_streams[stream].frames_max,
		.bytes_max = bytes_max,
		.final = UINT64_MAX,
	};
	reorder->ring = g_new0(struct frame *, reorder->frames_max);
	wait_cond_init(&reorder->arrival);
}

static struct frame **slot_of_frame(const struct reorder *reorder, uint64_t sequence)
{
	return &reorder->ring[sequence & (reorder->frames_max - 1)];
}

void reorder_destroy(struct reorder *reorder)
{
	for (uint64_t i = 0; i < reorder->frames_max; i++) {
		struct frame *frame = reorder->ring[i];
		if (frame && frame != REORDER_GONE)
			pool_put(reorder->pool, frame);
	}
	g_free(reorder->ring);
	pthread_cond_destroy(&reorder->arrival);
}

enum reorder_verdict reorder_judge(const struct reorder *reorder, uint64_t sequence, size_t length)
{
	if (sequence < reorder->expected)
		return REORDER_DUPLICATE;
	if (sequence - reorder->consumed >= reorder->frames_max || sequence >= reorder->final)
		return REORDER_BEYOND;
	if (*slot_of_frame(reorder, sequence))
		return REORDER_DUPLICATE;
	return reorder->bytes + length <= reorder->bytes_max ? REORDER_WANTED : REORDER_BEYOND;
}

enum reorder_verdict reorder_insert(struct reorder *reorder, struct frame *frame)
{
	enum reorder_verdict verdict =
		reorder_judge(reorder, frame->public.sequence, frame->public.length);
	if (verdict != REORDER_WANTED) {
		pool_put(reorder->pool, frame);
		return verdict;
	}
	*slot_of_frame(reorder, frame->public.sequence) = frame;
	reorder->bytes += frame->public.length;
	reorder->peak_bytes = MAX(reorder->peak_bytes, reorder->bytes);

	uint64_t before = reorder->expected;
	while (reorder->expected - reorder->consumed < reorder->frames_max &&
	       *slot_of_frame(reorder, reorder->expected))
		reorder->expected++;
	if (reorder->expected > before)
		pthread_cond_broadcast(&reorder->arrival);
	return REORDER_WANTED;
}

struct frame *reorder_next(struct reorder *reorder)
{
	if (reorder->delivered == reorder->expected)
		return NULL;
	return *slot_of_frame(reorder, reorder->delivered++);
}

bool reorder_done(struct reorder *reorder, struct frame *frame)
{
	struct frame **at = slot_of_frame(reorder, frame->public.sequence);
	if (*at != frame || frame->public.sequence >= reorder->delivered)
		return false;
	reorder->bytes -= frame->public.length;
	pool_put(reorder->pool, frame);
	*at = REORDER_GONE;
	while (reorder->consumed < reorder->delivered &&
	       *slot_of_frame(reorder, reorder->consumed) == REORDER_GONE)
		*slot_of_frame(reorder, reorder->consumed++) = NULL;
	return true;
}

bool reorder_finish(struct reorder *reorder, uint64_t final)
{
	if (reorder->final == final)
		return true;
	if (reorder->final != UINT64_MAX || final < reorder->expected)
		return false;
	reorder->final = final;
	pthread_cond_broadcast(&reorder->arrival);
	return true;
}

bool reorder_is_finished(const struct reorder *reorder)
{
	return reorder->delivered == reorder->final;
}
