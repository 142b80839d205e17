/* SPDX-License-Identifier: Apache-2.0 */
/* The link's decoder on hostile input, and behind it the receiving and the sending side's books, as
 * a lane uses them. The first byte says which role the peer has and how long the pieces are.
 * Whatever comes: no message passes that breaks a limit, what passes is encoded again to the same
 * bytes, the pieces make no difference, and the books stay inside their bounds. */
#include <stdlib.h>
#include <string.h>

#include "link/queue.h"
#include "link/reorder.h"

#define WINDOW WIRE_WINDOW_MIN

struct run {
	struct wire_decoder decoder;
	struct pool pool;
	struct reorder reorders[LINK_STREAM_LAST];
	struct queue queues[LINK_STREAM_LAST];
	struct frame *incoming;
	uint64_t digest, messages;
	bool over;
};

static void demand(bool truth)
{
	if (!truth)
		abort();
}

static void mix(struct run *run, uint64_t value)
{
	run->digest = (run->digest ^ value) * 0x9e3779b97f4a7c15ULL;
	run->digest ^= run->digest >> 29;
}

/* What was understood, said again, is what came. */
static void check_again(const struct run *run)
{
	const struct wire_message *message = &run->decoder.message;
	uint8_t bytes[WIRE_HEADER_BYTES + WIRE_CONTROL_MAX];
	size_t length = 0;
	switch (message->type) {
	case WIRE_HELLO:
		length = wire_put_hello(bytes, &message->hello);
		break;
	case WIRE_ACK:
		length = wire_put_ack(bytes, message->stream, message->sequence, message->expected);
		demand(memcmp(bytes, run->decoder.header, 8) == 0);
		demand(memcmp(bytes + WIRE_HEADER_BYTES, run->decoder.control, 8) == 0);
		return;
	case WIRE_FINISH:
		length = wire_put_finish(bytes, message->stream, message->sequence);
		demand(memcmp(bytes, run->decoder.header, length) == 0);
		return;
	case WIRE_CLOSE:
		demand(strlen(message->reason) <= WIRE_REASON_MAX);
		demand(g_utf8_validate(message->reason, -1, NULL));
		return;
	default:
		return;
	}
	demand(length == WIRE_HEADER_BYTES + WIRE_HELLO_BYTES);
	demand(message->hello.window >= WIRE_WINDOW_MIN);
	demand(message->hello.lanes >= 1 && message->hello.lanes <= LINK_CONNECTIONS_MAX);
}

static enum wire_event place(struct run *run)
{
	const struct wire_message *message = &run->decoder.message;
	struct reorder *reorder = &run->reorders[message->stream];
	demand(message->length <= LINK_PAYLOAD_MAX);
	enum reorder_verdict verdict = reorder_judge(reorder, message->sequence, message->length);
	if (verdict == REORDER_BEYOND) {
		run->over = true;
		return WIRE_MORE;
	}
	if (verdict == REORDER_WANTED) {
		run->incoming = pool_get(&run->pool, message->length);
		run->incoming->public.length = message->length;
		run->incoming->public.sequence = message->sequence;
	}
	return wire_decoder_take_payload(&run->decoder,
					 run->incoming ? run->incoming->public.data : NULL);
}

static void consume(struct run *run, struct reorder *reorder)
{
	struct frame *frame;
	/* Every third one is kept back, so that the window fills. */
	while (run->messages % 3 && (frame = reorder_next(reorder))) {
		mix(run, frame->public.sequence);
		for (size_t i = 0; i < frame->public.length; i++)
			mix(run, frame->public.data[i]);
		demand(reorder_done(reorder, frame));
	}
	demand(reorder->bytes <= reorder->bytes_max);
	demand(reorder->consumed <= reorder->delivered && reorder->delivered <= reorder->expected);
	demand(reorder->expected - reorder->consumed <= reorder->frames_max);
}

static void handle(struct run *run)
{
	const struct wire_message *message = &run->decoder.message;
	run->messages++;
	mix(run, message->type);
	mix(run, message->sequence);
	check_again(run);
	struct reorder *reorder = &run->reorders[message->stream];
	struct queue *queue = &run->queues[message->stream];
	if (message->type == WIRE_DATA && run->incoming) {
		struct frame *frame = g_steal_pointer(&run->incoming);
		run->over |= reorder_insert(reorder, frame) == REORDER_BEYOND;
		consume(run, reorder);
	} else if (message->type == WIRE_FINISH) {
		run->over |= !reorder_finish(reorder, message->sequence);
	} else if (message->type == WIRE_ACK) {
		run->over |= !queue_acknowledge(queue, message->sequence, message->expected,
						(int64_t) run->messages * 1000, 500);
		demand(queue->consumed <= queue->expected && queue->expected <= queue->fresh);
		demand(queue->window.size <= queue->window.maximum);
		/* A lane breaks, another one takes over. */
		queue_lane_lost(queue, 0);
		struct frame *frame = queue_take(queue, 0);
		if (frame)
			queue_written(&run->pool, frame);
	}
}

/* Something to acknowledge: ten frames of each stream, half of them sent. */
static void fill_queue(struct run *run, enum link_stream stream)
{
	struct queue *queue = &run->queues[stream];
	queue_init(queue, stream, &run->pool, WINDOW);
	for (int i = 0; i < 10; i++) {
		struct frame *frame = pool_get(&run->pool, 1000);
		frame->public.length = (size_t) i * 100;
		queue_commit(queue, frame, 0);
	}
	for (int i = 0; i < 5; i++)
		queue_written(&run->pool, queue_take(queue, i % 2));
}

static uint64_t decode(const uint8_t *bytes, size_t length, bool peer_is_source, size_t step)
{
	struct run *run = g_new0(struct run, 1);
	pool_init(&run->pool, WINDOW);
	wire_decoder_init(&run->decoder, peer_is_source);
	for (unsigned i = 0; i < LINK_STREAM_LAST; i++) {
		reorder_init(&run->reorders[i], i, &run->pool, WINDOW);
		fill_queue(run, i);
	}
	while (length > 0 && !run->over) {
		uint8_t *at;
		size_t space = wire_decoder_space(&run->decoder, &at);
		demand(space > 0 && space <= LINK_PAYLOAD_MAX);
		size_t n = MIN(MIN(space, step), length);
		memcpy(at, bytes, n);
		bytes += n;
		length -= n;
		enum wire_event event = wire_decoder_advance(&run->decoder, n);
		if (event == WIRE_FRAME)
			event = place(run);
		if (event == WIRE_MESSAGE)
			handle(run);
		if (event == WIRE_BAD) {
			demand(run->decoder.problem != NULL);
			break;
		}
	}
	if (run->incoming)
		pool_put(&run->pool, run->incoming);
	for (unsigned i = 0; i < LINK_STREAM_LAST; i++) {
		reorder_destroy(&run->reorders[i]);
		queue_destroy(&run->queues[i]);
	}
	pool_destroy(&run->pool);
	uint64_t digest = run->digest;
	g_free(run);
	return digest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	bool peer_is_source = data[0] & 1;
	size_t step = 1 + (data[0] >> 1);
	uint64_t pieces = decode(data + 1, size - 1, peer_is_source, step);
	demand(pieces == decode(data + 1, size - 1, peer_is_source, SIZE_MAX));
	return 0;
}
