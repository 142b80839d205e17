/* SPDX-License-Identifier: Apache-2.0 */
/* One lane: the thread that owns one connection after the other, in both directions.
 *
 * It reads whatever comes and never waits for the application (the window bounds what can come),
 * and it takes the next frame from the queues only when the socket can really take it, so a slow
 * lane does not sit on frames that a fast one could carry. Small messages go first at each
 * message's end.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"
#include "link/internal.h"

#define LOW_WATER_BYTES (16 * 1024) /* a TLS record */
#define READ_BUDGET (512 * 1024)    /* before it looks at what there is to send */
#define WRITE_BUDGET (512 * 1024)   /* before it looks at what has come */
#define RECORD_BYTES 16384          /* of TLS: the cap is kept this finely */
#define PING_INTERVAL_US 1000000
#define DEAD_US (SOCKET_DEAD_MS * 1000ll)
/* Through a pipe nobody sees acknowledgements, and the ssh below may hold seconds of a slow path;
 * its breaks show as an end of file. */
#define DEAD_PIPE_US 10000000
/* A peer whose kernel answers but whose mover does not: stopped, or behind a very slow path. */
#define DEAD_MOVER_US 15000000
#define END_US 1000000  /* for the last words */
#define OLD_US 1000000  /* a connection that lived so long was a good one */
#define DOUBT_US 100000 /* how often a silent peer is looked at */

static void lane_break(struct lane *lane, const char *what, const char *problem)
{
	lane->broken = true;
	pthread_mutex_lock(&lane->link->lock);
	link_note_problem(lane->link, what, problem);
	pthread_mutex_unlock(&lane->link->lock);
}

static void lane_break_channel(struct lane *lane)
{
	lane_break(lane, _("connection lost"), channel_problem(lane->channel));
}

static void lane_fail_protocol(struct lane *lane, const char *problem)
{
	lane->broken = true;
	pthread_mutex_lock(&lane->link->lock);
	link_fail_protocol(lane->link, problem);
	pthread_mutex_unlock(&lane->link->lock);
}

/* ---- receiving ---- */

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
	bool possible =
		queue_acknowledge(&link->queues[message->stream], message->sequence,
				  message->expected, clock_now_us(), link_round_trip_us(link));
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

/* The smallest counts for as long as the connection lives: most pings stand behind data, and what
 * they measure then is our own queue. The first one of a connection goes before any data. */
static void handle_pong(struct lane *lane, const struct wire_message *message)
{
	struct link *link = lane->link;
	int64_t took_us = clock_now_us() - (int64_t) message->sequence;
	if (!lane->ping_wanted_us || took_us < 0)
		return;
	lane->ping_wanted_us = 0;
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

/* Returns whether there may be more. */
static bool lane_read(struct lane *lane)
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

/* ---- sending ---- */

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

/* With the lock held: is there something for this lane to say or carry? */
static bool has_control(const struct lane *lane)
{
	const struct link *link = lane->link;
	bool found = lane->pong_now || lane->ping_now || lane->tell_close;
	for (unsigned i = 0; i < LINK_STREAM_LAST; i++)
		found |= link->reorders[i].tell_ack || link->queues[i].tell_finish;
	return found;
}

static bool has_frames(const struct lane *lane)
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
	bool frames = has_frames(lane);
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

/* Returns whether there may be more. */
static bool lane_write(struct lane *lane)
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

/* ---- life ---- */

/* Ask now and then; somebody who neither answers nor acknowledges is dead. */
static void lane_check_alive(struct lane *lane, int64_t now_us)
{
	if (!lane->ping_wanted_us && now_us >= lane->ping_due_us) {
		lane->ping_now = true;
		lane->ping_wanted_us = now_us;
		lane->ping_due_us = now_us + PING_INTERVAL_US;
	}
	int64_t silent_us = now_us - MAX(lane->heard_us, lane->ping_wanted_us);
	if (!lane->ping_wanted_us || silent_us < DEAD_US)
		return;
	int64_t kernel_ms = socket_silence_ms(channel_fd(lane->channel));
	bool dead = kernel_ms < 0 ? silent_us > DEAD_PIPE_US : kernel_ms >= SOCKET_DEAD_MS;
	if (dead || silent_us > DEAD_MOVER_US)
		lane_break(lane, _("connection lost"), _("the other side is silent"));
}

/* The link ended and there is nothing (more) for this lane to say. */
static bool lane_must_end(struct lane *lane)
{
	struct link *link = lane->link;
	pthread_mutex_lock(&link->lock);
	bool replaced = lane->next != NULL;
	bool over = link->phase != LINK_RUNNING;
	bool speaks =
		(lane->tell_close || lane->said_close) && clock_now_us() - link->ended_us < END_US;
	pthread_mutex_unlock(&link->lock);
	return replaced || (over && !speaks);
}

/* How long poll may sleep. */
static int64_t lane_patience_us(const struct lane *lane, int64_t now_us)
{
	int64_t until_us = lane->ping_due_us;
	if (lane->ping_wanted_us)
		until_us = MAX(lane->heard_us, lane->ping_wanted_us) + DEAD_US;
	until_us = CLAMP(until_us, now_us + DOUBT_US, now_us + PING_INTERVAL_US);
	if (lane->tokens_at_us && !lane->blocked)
		until_us = CLAMP(lane->tokens_at_us, now_us, until_us);
	return until_us - now_us;
}

static void lane_poll(struct lane *lane, int64_t patience_us)
{
	struct pollfd fds[] = {
		{ .fd = channel_fd(lane->channel), .events = POLLIN },
		{ .fd = lane->wake_fd, .events = POLLIN },
	};
	if (lane->blocked)
		fds[0].events |= POLLOUT;
	struct timespec timeout = {
		.tv_sec = patience_us / 1000000,
		.tv_nsec = patience_us % 1000000 * 1000,
	};
	int n = ppoll(fds, G_N_ELEMENTS(fds), &timeout, NULL);
	if (n > 0 && fds[1].revents)
		wake_fd_clear(lane->wake_fd);
	/* Every return is a try again; only a real no blocks. */
	lane->blocked = lane->blocked && n >= 0 && !(fds[0].revents & ~POLLIN);
}

/* Sleep until there is something to do. Says that it is idle under the same lock under which it saw
 * that there is no work, so no wake-up is lost. */
static void lane_wait(struct lane *lane, int64_t now_us)
{
	struct link *link = lane->link;
	bool can_take = !lane->blocked && !lane->out.left && !lane->ended;
	pthread_mutex_lock(&link->lock);
	bool work = can_take && (has_control(lane) || (!lane->tokens_at_us && has_frames(lane)));
	lane->idle = can_take && !work;
	pthread_mutex_unlock(&link->lock);
	if (work)
		return;
	lane_poll(lane, lane_patience_us(lane, now_us));
	pthread_mutex_lock(&link->lock);
	lane->idle = false;
	pthread_mutex_unlock(&link->lock);
}

/* In the middle of a long frame there is no use in waking up for every packet: what is still missing
 * of it comes for certain, or the connection breaks, which poll reports all the same. At 100 Mbit/s
 * this halves what the receiver costs. */
static void lane_set_low_water(struct lane *lane)
{
	uint8_t *at;
	int low_water = 1;
	if (lane->incoming && wire_decoder_space(&lane->decoder, &at) >= 2 * LOW_WATER_BYTES)
		low_water = LOW_WATER_BYTES;
	if (low_water == lane->low_water)
		return;
	lane->low_water = low_water;
	setsockopt(channel_fd(lane->channel), SOL_SOCKET, SO_RCVLOWAT, &low_water,
		   sizeof(low_water));
}

static void lane_serve(struct lane *lane)
{
	while (!lane->broken && !lane_must_end(lane)) {
		bool more = lane_read(lane);
		if (!more && !lane->broken)
			lane_set_low_water(lane);
		if (!lane->blocked)
			more |= lane_write(lane);
		int64_t now_us = clock_now_us();
		lane_check_alive(lane, now_us);
		if (!more && !lane->broken)
			lane_wait(lane, now_us);
	}
}

/* ---- one connection after the other ---- */

static void start_connection(struct lane *lane, struct channel *channel)
{
	lane->channel = channel;
	channel_count_into(channel, &lane->count);
	wire_decoder_init(&lane->decoder, !lane->link->config.source);
	lane->blocked = lane->broken = lane->said_close = false;
	lane->pong_now = lane->ping_now = false;
	lane->ended = false;
	lane->low_water = 1;
	lane->tokens_at_us = lane->ping_wanted_us = 0;
	lane->up_us = lane->heard_us = lane->ping_due_us = clock_now_us();
}

/* With the lock held: all that was said on a broken connection is said again. */
static void repeat_all(struct link *link)
{
	for (unsigned i = 0; i < LINK_STREAM_LAST; i++) {
		link->queues[i].tell_finish = link->queues[i].finished;
		link->reorders[i].tell_ack = link->reorders[i].expected > 0;
	}
}

static void lane_up(struct lane *lane)
{
	struct link *link = lane->link;
	pthread_mutex_lock(&link->lock);
	lane->fd = channel_fd(lane->channel);
	lane->round_trip_us = 0;
	lane->update_keys = false;
	link->up++;
	if (link->ever_up & 1u << lane->index)
		link->reconnects++;
	link->ever_up |= 1u << lane->index;
	link->dark_since_us = link->dark_base_us = 0;
	repeat_all(link);
	pthread_cond_broadcast(&link->changed);
	pthread_mutex_unlock(&link->lock);
}

static void lane_down(struct lane *lane)
{
	struct link *link = lane->link;
	int64_t now_us = clock_now_us();
	if (lane->incoming)
		pool_put(&link->pool, g_steal_pointer(&lane->incoming));
	pthread_mutex_lock(&link->lock);
	lane->fd = -1;
	if (lane->out.frame)
		queue_written(&link->pool, lane->out.frame);
	lane->out.frame = NULL;
	lane->out.left = 0;
	for (unsigned i = 0; i < LINK_STREAM_LAST; i++)
		queue_lane_lost(&link->queues[i], (int) lane->index);
	repeat_all(link);
	if (--link->up == 0)
		link->dark_since_us = link->dark_base_us = now_us;
	if (!lane->next)
		lane->state = LANE_DOWN;
	/* One that dies young is not dialled again at once. */
	if (now_us - lane->up_us > OLD_US)
		lane->backoff_ms = 0;
	link_back_off(lane, now_us);
	link_wake_lane(link);
	pthread_cond_broadcast(&link->changed);
	pthread_mutex_unlock(&link->lock);
	wake_fd_set(link->keeper_fd);
}

/* The next connection, NULL: there will be none. */
static struct channel *lane_await(struct lane *lane)
{
	struct link *link = lane->link;
	pthread_mutex_lock(&link->lock);
	while (!lane->next && link->phase == LINK_RUNNING)
		pthread_cond_wait(&lane->given, &link->lock);
	struct channel *channel = g_steal_pointer(&lane->next);
	pthread_mutex_unlock(&link->lock);
	return channel;
}

void *lane_main(void *argument)
{
	struct lane *lane = argument;
	struct channel *channel;
	while ((channel = lane_await(lane))) {
		start_connection(lane, channel);
		lane_up(lane);
		lane_serve(lane);
		lane_down(lane);
		channel_free(g_steal_pointer(&lane->channel));
	}
	return NULL;
}
