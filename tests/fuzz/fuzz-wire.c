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

struct transfer {
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

static void mix(struct transfer *transfer, uint64_t value)
{
	transfer->digest = (transfer->digest ^ value) * 0x9e3779b97f4a7c15ULL;
	transfer->digest ^= transfer->digest >> 29;
}

/* What was understood, said again, is what came. */
static void check_again(const struct transfer *transfer)
{
	const struct wire_message *message = &transfer->decoder.message;
	uint8_t bytes[WIRE_HEADER_BYTES + WIRE_CONTROL_MAX];
	size_t length = 0;
	switch (message->type) {
	case WIRE_HELLO:
		length = wire_put_hello(bytes, &message->hello);
		break;
	case WIRE_ACK:
		length = wire_put_ack(bytes, message->stream, message->sequence, message->expected);
		demand(memcmp(bytes, transfer->decoder.header, 8) == 0);
		demand(memcmp(bytes + WIRE_HEADER_BYTES, transfer->decoder.control, 8) == 0);
		return;
	case WIRE_FINISH:
		length = wire_put_finish(bytes, message->stream, message->sequence);
		demand(memcmp(bytes, transfer->decoder.header, length) == 0);
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

static enum wire_event place(struct transfer *transfer)
{
	const struct wire_message *message = &transfer->decoder.message;
	struct reorder *reorder = &transfer->reorders[message->stream];
	demand(message->length <= LINK_PAYLOAD_MAX);
	enum reorder_verdict verdict = reorder_judge(reorder, message->sequence, message->length);
	if (verdict == REORDER_BEYOND) {
		transfer->over = true;
		return WIRE_MORE;
	}
	if (verdict == REORDER_WANTED) {
		transfer->incoming = pool_get(&transfer->pool, message->length);
		transfer->incoming->public.length = message->length;
		transfer->incoming->public.sequence = message->sequence;
	}
	return wire_decoder_take_payload(
		&transfer->decoder, transfer->incoming ? transfer->incoming->public.data : NULL);
}

static void consume(struct transfer *transfer, struct reorder *reorder)
{
	struct frame *frame;
	/* Every third one is kept back, so that the window fills. */
	while (transfer->messages % 3 && (frame = reorder_next(reorder))) {
		mix(transfer, frame->public.sequence);
		for (size_t i = 0; i < frame->public.length; i++)
			mix(transfer, frame->public.data[i]);
		demand(reorder_done(reorder, frame));
	}
	demand(reorder->bytes <= reorder->bytes_max);
	demand(reorder->consumed <= reorder->delivered && reorder->delivered <= reorder->expected);
	demand(reorder->expected - reorder->consumed <= reorder->frames_max);
}

static void handle(struct transfer *transfer)
{
	const struct wire_message *message = &transfer->decoder.message;
	transfer->messages++;
	mix(transfer, message->type);
	mix(transfer, message->sequence);
	check_again(transfer);
	struct reorder *reorder = &transfer->reorders[message->stream];
	struct queue *queue = &transfer->queues[message->stream];
	if (message->type == WIRE_DATA && transfer->incoming) {
		struct frame *frame = g_steal_pointer(&transfer->incoming);
		transfer->over |= reorder_insert(reorder, frame) == REORDER_BEYOND;
		consume(transfer, reorder);
	} else if (message->type == WIRE_FINISH) {
		transfer->over |= !reorder_finish(reorder, message->sequence);
	} else if (message->type == WIRE_ACK) {
		transfer->over |= !queue_acknowledge(queue, message->sequence, message->expected,
						     (int64_t) transfer->messages * 1000, 500);
		demand(queue->consumed <= queue->expected && queue->expected <= queue->fresh);
		demand(queue->window.size <= queue->window.maximum);
		/* A lane breaks, another one takes over. */
		queue_lane_lost(queue, 0);
		struct frame *frame = queue_take(queue, 0);
		if (frame)
			queue_written(&transfer->pool, frame);
	}
}

/* Something to acknowledge: ten frames of each stream, half of them sent. */
static void fill_queue(struct transfer *transfer, enum link_stream stream)
{
	struct queue *queue = &transfer->queues[stream];
	queue_init(queue, stream, &transfer->pool, WINDOW);
	for (int i = 0; i < 10; i++) {
		struct frame *frame = pool_get(&transfer->pool, 1000);
		frame->public.length = (size_t) i * 100;
		queue_commit(queue, frame, 0);
	}
	for (int i = 0; i < 5; i++)
		queue_written(&transfer->pool, queue_take(queue, i % 2));
}

static uint64_t decode(const uint8_t *bytes, size_t length, bool peer_is_source, size_t step)
{
	struct transfer *transfer = g_new0(struct transfer, 1);
	pool_init(&transfer->pool, WINDOW);
	wire_decoder_init(&transfer->decoder, peer_is_source);
	for (unsigned i = 0; i < LINK_STREAM_LAST; i++) {
		reorder_init(&transfer->reorders[i], i, &transfer->pool, WINDOW);
		fill_queue(transfer, i);
	}
	while (length > 0 && !transfer->over) {
		uint8_t *at;
		size_t space = wire_decoder_space(&transfer->decoder, &at);
		demand(space > 0 && space <= LINK_PAYLOAD_MAX);
		size_t n = MIN(MIN(space, step), length);
		memcpy(at, bytes, n);
		bytes += n;
		length -= n;
		enum wire_event event = wire_decoder_advance(&transfer->decoder, n);
		if (event == WIRE_FRAME)
			event = place(transfer);
		if (event == WIRE_MESSAGE)
			handle(transfer);
		if (event == WIRE_BAD) {
			demand(transfer->decoder.problem != NULL);
			break;
		}
	}
	if (transfer->incoming)
		pool_put(&transfer->pool, transfer->incoming);
	for (unsigned i = 0; i < LINK_STREAM_LAST; i++) {
		reorder_destroy(&transfer->reorders[i]);
		queue_destroy(&transfer->queues[i]);
	}
	pool_destroy(&transfer->pool);
	uint64_t digest = transfer->digest;
	g_free(transfer);
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
