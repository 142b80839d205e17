/* SPDX-License-Identifier: Apache-2.0 */
/* What comes over a lane's connection. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"
#include "link/lane.h"

#define READ_BUDGET (512 * 1024) /* before it looks at what there is to send */

static void handle_data(struct lane *lane, const struct wire_message *message)
{
	struct link *link = lane->link;
	struct frame *frame = g_steal_pointer(&lane->incoming);
	if (!frame)
		return; /* was a duplicate */
	pthread_mutex_lock(&link->lock);
	enum reorder_verdict verdict = reorder_insert(&link->reorders[message->stream], frame);
	pthread_mutex_unlock(&link->lock);
	if (verdict == REORDER_BEYOND)
		lane_fail_protocol(lane, _("it sent more than the window"));
}

static void handle_ack(struct lane *lane, const struct wire_message *message)
{
	struct link *link = lane->link;
	pthread_mutex_lock(&link->lock);
	struct queue *queue = &link->queues[message->stream];
	int64_t now_us = clock_now_us();
	if (message->expected > queue->expected)
		link_note_progress(link, now_us);
	bool possible = queue_acknowledge(queue, message->sequence, message->expected, now_us,
					  link_round_trip_us(link));
	pthread_cond_broadcast(&link->changed);
	pthread_mutex_unlock(&link->lock);
	if (!possible)
		lane_fail_protocol(lane, _("it acknowledged what was never sent"));
}

static void handle_finish(struct lane *lane, const struct wire_message *message)
{
	struct link *link = lane->link;
	pthread_mutex_lock(&link->lock);
	bool possible = reorder_finish(&link->reorders[message->stream], message->sequence);
	pthread_mutex_unlock(&link->lock);
	if (!possible)
		lane_fail_protocol(lane, _("it ended a stream twice"));
}

static void handle_ping(struct lane *lane, const struct wire_message *message)
{
	lane->pong_now = true;
	lane->pong_time = message->sequence;
}

/* The smallest counts for as long as the connection lives: pings stand behind data (the first one behind the window that
 * shows that the link carries one), and what they measure then is our own queue. The kernel sees a round trip with
 * each acknowledgement. */
static void handle_pong(struct lane *lane, const struct wire_message *message)
{
	struct link *link = lane->link;
	int64_t took_us = clock_now_us() - (int64_t) message->sequence;
	if (!lane->ping_wanted_us || took_us < 0)
		return;
	lane->ping_wanted_us = 0;
	int64_t kernel_us = socket_round_trip_us(lane->fd);
	if (kernel_us > 0 && kernel_us < took_us)
		took_us = kernel_us;
	pthread_mutex_lock(&link->lock);
	if (!lane->round_trip_us || took_us < lane->round_trip_us)
		lane->round_trip_us = MAX(took_us, 1);
	pthread_mutex_unlock(&link->lock);
}

static void handle_close(struct lane *lane, const struct wire_message *message)
{
	struct link *link = lane->link;
	GError *failure = NULL;
	if (message->reason[0])
		error_set(&failure, WATARI_ERROR_INTERNAL, NULL, _("the other mover ended: %s"),
			  message->reason);
	else
		error_set(&failure, WATARI_ERROR_INTERNAL, NULL,
			  _("the other mover closed the link"));
	lane->broken = true;
	pthread_mutex_lock(&link->lock);
	link_end(link, LINK_FAILED, failure, NULL);
	pthread_mutex_unlock(&link->lock);
}

static void handle_hello(struct lane *lane, const struct wire_message *message)
{
	lane_fail_protocol(lane, _("a second hello on one connection"));
}

static void (*const handlers[])(struct lane *, const struct wire_message *) = {
	[WIRE_HELLO] = handle_hello,   [WIRE_DATA] = handle_data, [WIRE_ACK] = handle_ack,
	[WIRE_FINISH] = handle_finish, [WIRE_PING] = handle_ping, [WIRE_PONG] = handle_pong,
	[WIRE_CLOSE] = handle_close,
};
_Static_assert(G_N_ELEMENTS(handlers) == WIRE_TYPE_LAST, "every message is handled");

/* A frame is announced: give its payload a place, or none if it is here already. */
static enum wire_event place_frame(struct lane *lane)
{
	struct link *link = lane->link;
	const struct wire_message *message = &lane->decoder.message;
	pthread_mutex_lock(&link->lock);
	enum reorder_verdict verdict =
		reorder_judge(&link->reorders[message->stream], message->sequence, message->length);
	pthread_mutex_unlock(&link->lock);
	if (verdict == REORDER_BEYOND) {
		lane_fail_protocol(lane, _("it sent more than the window"));
		return WIRE_MORE;
	}
	if (verdict == REORDER_DUPLICATE)
		return wire_decoder_take_payload(&lane->decoder, NULL);
	struct frame *frame = pool_get(&link->pool, message->length);
	frame->public.length = message->length;
	frame->public.flags = message->flags;
	frame->public.sequence = message->sequence;
	memcpy(frame->public.tag, message->tag, LINK_TAG_BYTES);
	lane->incoming = frame;
	return wire_decoder_take_payload(&lane->decoder, frame->public.data);
}

static void lane_digest(struct lane *lane, size_t length)
{
	enum wire_event event = wire_decoder_advance(&lane->decoder, length);
	if (event == WIRE_FRAME)
		event = place_frame(lane);
	if (event == WIRE_MESSAGE)
		handlers[lane->decoder.message.type](lane, &lane->decoder.message);
	if (event == WIRE_BAD)
		lane_fail_protocol(lane, _(lane->decoder.problem));
}

bool lane_read(struct lane *lane)
{
	size_t taken = 0;
	while (taken < READ_BUDGET && !lane->broken) {
		uint8_t *at;
		size_t wanted = wire_decoder_space(&lane->decoder, &at);
		int n = channel_read(lane->channel, at, wanted);
		if (n < 0)
			lane_break_channel(lane);
		if (n <= 0)
			break;
		taken += (size_t) n;
		lane_digest(lane, (size_t) n);
	}
	if (taken > 0)
		lane->heard_us = clock_now_us();
	return taken >= READ_BUDGET;
}
