/* SPDX-License-Identifier: Apache-2.0 */
/* What a lane sends, and in which order. */
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"
#include "link/lane.h"

#define WRITE_BUDGET (512 * 1024) /* before it looks at what has come */
#define RECORD_BYTES 16384        /* of TLS: the cap is kept this finely */

/* Whatever small is to be said now. With the lock held. */
static size_t gather_control(struct lane *lane, uint8_t *at)
{
	struct link *link = lane->link;
	uint8_t *start = at;
	if (lane->pong_now)
		at += wire_put_ping(at, WIRE_PONG, lane->pong_time);
	if (lane->ping_now)
		at += wire_put_ping(at, WIRE_PING, (uint64_t) clock_now_us());
	lane->pong_now = lane->ping_now = false;
	for (unsigned i = 0; i < LINK_STREAM_LAST; i++) {
		struct queue *queue = &link->queues[i];
		struct reorder *reorder = &link->reorders[i];
		/* The last words repeat all of it: on another lane it may come too late. */
		if (reorder->tell_ack || (lane->tell_close && reorder->expected > 0))
			at += wire_put_ack(at, i, reorder->consumed, reorder->expected);
		if (queue->tell_finish)
			at += wire_put_finish(at, i, queue->committed);
		reorder->tell_ack = queue->tell_finish = false;
	}
	if (lane->tell_close) {
		at += wire_put_close(at, link->tell);
		lane->tell_close = false;
		lane->said_close = true;
	}
	return (size_t) (at - start);
}

bool lane_has_control(const struct lane *lane)
{
	const struct link *link = lane->link;
	bool found = lane->pong_now || lane->ping_now || lane->tell_close;
	for (unsigned i = 0; i < LINK_STREAM_LAST; i++)
		found |= link->reorders[i].tell_ack || link->queues[i].tell_finish;
	return found;
}

bool lane_has_frames(const struct lane *lane)
{
	const struct link *link = lane->link;
	if (link->phase != LINK_RUNNING)
		return false;
	for (unsigned i = 0; i < LINK_STREAM_LAST; i++) {
		if (queue_has_work(&link->queues[i]))
			return true;
	}
	return false;
}

/* The most urgent frame: talk, then return, then memory. With the lock held. */
static void take_frame(struct lane *lane)
{
	struct link *link = lane->link;
	for (int i = LINK_STREAM_LAST - 1; i >= 0; i--) {
		struct frame *frame = queue_take(&link->queues[i], (int) lane->index);
		if (!frame)
			continue;
		wire_put_data(frame_wire(frame), i, &frame->public);
		lane->out.frame = frame;
		lane->out.at = frame_wire(frame);
		lane->out.left = WIRE_HEADER_BYTES + frame->public.length;
		return;
	}
}

/* Does the kernel want more now, by TCP_NOTSENT_LOWAT? */
static bool socket_is_hungry(struct lane *lane)
{
	struct pollfd poll_fd = { .fd = channel_fd(lane->channel), .events = POLLOUT };
	return poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & POLLOUT);
}

/* When may data go by the cap? 0: now. */
static int64_t cap_wait_us(struct lane *lane, int64_t now_us)
{
	struct link *link = lane->link;
	lane->tokens_at_us = 0;
	if (!atomic_load_explicit(&link->bandwidth, memory_order_relaxed))
		return 0;
	pthread_mutex_lock(&link->lock);
	int64_t wait_us = bucket_wait_us(&link->bucket, now_us);
	pthread_mutex_unlock(&link->lock);
	if (wait_us)
		lane->tokens_at_us = now_us + wait_us;
	return wait_us;
}

/* Choose what to send next. Returns false if there is nothing, or nothing can go. */
static bool lane_choose(struct lane *lane)
{
	struct link *link = lane->link;
	lane->tokens_at_us = 0;
	pthread_mutex_lock(&link->lock);
	size_t control = gather_control(lane, lane->out.control);
	bool frames = lane_has_frames(lane);
	bool update_keys = lane->update_keys;
	lane->update_keys = false;
	pthread_mutex_unlock(&link->lock);

	if (update_keys || channel_key_bytes(lane->channel) >= CHANNEL_REKEY_BYTES)
		channel_update_keys(lane->channel);
	if (control) {
		lane->out.at = lane->out.control;
		lane->out.left = control;
		return true;
	}
	if (!frames || cap_wait_us(lane, clock_now_us()))
		return false;
	if (!socket_is_hungry(lane)) {
		lane->blocked = true;
		return false;
	}
	pthread_mutex_lock(&link->lock);
	if (link->phase == LINK_RUNNING)
		take_frame(lane);
	pthread_mutex_unlock(&link->lock);
	return lane->out.left > 0;
}

static void lane_sent(struct lane *lane)
{
	struct link *link = lane->link;
	if (lane->out.frame) {
		pthread_mutex_lock(&link->lock);
		queue_written(&link->pool, lane->out.frame);
		pthread_mutex_unlock(&link->lock);
		lane->out.frame = NULL;
	}
}

static void pay_cap(struct lane *lane, uint64_t bytes)
{
	struct link *link = lane->link;
	if (!atomic_load_explicit(&link->bandwidth, memory_order_relaxed))
		return;
	pthread_mutex_lock(&link->lock);
	bucket_pay(&link->bucket, bytes);
	pthread_mutex_unlock(&link->lock);
}

static uint64_t sent_bytes(const struct lane *lane)
{
	return atomic_load_explicit(&lane->count.sent, memory_order_relaxed);
}

/* Give the socket what is gathered, and pay for it. */
static void lane_flush(struct lane *lane)
{
	uint64_t before = sent_bytes(lane);
	int flushed = channel_flush(lane->channel);
	pay_cap(lane, sent_bytes(lane) - before);
	if (flushed < 0)
		lane_break_channel(lane);
	lane->blocked = flushed == 0;
}

/* Write one piece of the message in hand. Returns the bytes of it that went. */
static size_t write_piece(struct lane *lane)
{
	bool capped = atomic_load_explicit(&lane->link->bandwidth, memory_order_relaxed) > 0;
	if (capped && lane->out.frame && cap_wait_us(lane, clock_now_us()))
		return 0;
	/* TLS takes one record of a longer message. */
	bool pieces = capped || !lane->link->config.plain;
	size_t piece = pieces ? MIN(lane->out.left, RECORD_BYTES) : lane->out.left;
	uint64_t before = sent_bytes(lane);
	int n = channel_write(lane->channel, lane->out.at, piece);
	pay_cap(lane, sent_bytes(lane) - before);
	if (n < 0)
		lane_break_channel(lane);
	if (n == 0)
		lane->blocked = true;
	if (n > 0 && (capped || channel_is_full(lane->channel)))
		lane_flush(lane);
	return n > 0 ? (size_t) n : 0;
}

bool lane_write(struct lane *lane)
{
	size_t written = 0;
	while (written < WRITE_BUDGET && !lane->broken && !lane->blocked && !lane->ended) {
		if (!lane->out.left && !lane_choose(lane))
			break;
		size_t n = write_piece(lane);
		if (n == 0)
			break;
		lane->out.at += n;
		lane->out.left -= n;
		written += n;
		if (!lane->out.left)
			lane_sent(lane);
	}
	/* Whatever kept us from writing more: nothing stays behind. */
	if (!lane->broken && !lane->blocked && !lane->ended)
		lane_flush(lane);
	if (lane->said_close && !lane->out.left && !lane->blocked && !lane->ended) {
		channel_end(lane->channel);
		lane->ended = true;
	}
	return written >= WRITE_BUDGET;
}
