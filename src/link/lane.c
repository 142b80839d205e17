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
#include "link/lane.h"

#define LOW_WATER_BYTES (16 * 1024) /* a TLS record */
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
	bool work = can_take &&
		    (lane_has_control(lane) || (!lane->tokens_at_us && lane_has_frames(lane)));
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
	link->broke_since = true;
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
