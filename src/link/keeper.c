/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper: makes connections and gives them to the lanes.
 *
 * One thread with one poll. It takes whoever comes to the listening socket, or dials the lanes
 * that are down; each connection goes through the stages of pending.h, none of which can hold up
 * another one. A lane that works is not touched by any of this.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"
#include "link/pending.h"

#define PENDING_MAX 32
#define BACKOFF_FIRST_MS 100
#define BACKOFF_LAST_MS 2000

struct keeper {
	struct link *link;
	struct pending *pending[PENDING_MAX]; /* oldest first */
	unsigned count;
};

void link_back_off(struct lane *lane, int64_t now_us)
{
	lane->dial_at_us = now_us + lane->backoff_ms * 1000ll;
	lane->backoff_ms = CLAMP(2 * lane->backoff_ms, BACKOFF_FIRST_MS, BACKOFF_LAST_MS);
}

/* What the peer has already need not go again, and what it can hold is now known. */
static bool learn_from_hello(struct link *link, const struct wire_hello *hello)
{
	for (unsigned i = 0; i < LINK_STREAM_LAST; i++) {
		struct queue *queue = &link->queues[i];
		queue->peer_max = i == LINK_MEMORY ? hello->window : WIRE_WINDOW_SMALL;
		queue->window.maximum = MIN(queue->bytes_max, queue->peer_max);
		if (!queue_acknowledge(queue, MIN(queue->consumed, hello->expected[i]),
				       hello->expected[i], clock_now_us(), 0))
			return false;
	}
	return true;
}

/* The lane's thread takes it from here; an older connection of the lane is given up. */
static void hand_over_lane(struct link *link, struct pending *pending)
{
	struct lane *lane = &link->lanes[pending->lane];
	struct channel *older = NULL;
	pthread_mutex_lock(&link->lock);
	if (!learn_from_hello(link, &pending->heard))
		link_fail_protocol(link, _("it expects what was never sent"));
	if (link->phase == LINK_RUNNING) {
		older = lane->next;
		lane->next = g_steal_pointer(&pending->channel);
		lane->state = LANE_UP;
		if (link->source.count)
			lane->backoff_ms = MAX(lane->backoff_ms, BACKOFF_FIRST_MS);
		pthread_cond_signal(&lane->given);
		wake_fd_set(lane->wake_fd);
	}
	pthread_mutex_unlock(&link->lock);
	channel_free(older);
}

/* It came to nothing: the lane it was dialled for is tried again, at the next address. */
static void give_up_lane(struct link *link, struct pending *pending, int64_t now_us)
{
	if (!pending->dialled)
		return;
	struct lane *lane = &link->lanes[pending->lane];
	link->source.good = (link->source.good + 1) % link->source.count;
	pthread_mutex_lock(&link->lock);
	if (lane->state == LANE_DIALLING) {
		lane->state = LANE_DOWN;
		link_back_off(lane, now_us);
	}
	pthread_mutex_unlock(&link->lock);
}

/* ---- all of them ---- */

static void drop_lane(struct keeper *keeper, unsigned index, int64_t now_us)
{
	struct pending *pending = keeper->pending[index];
	keeper->count--;
	for (unsigned i = index; i < keeper->count; i++)
		keeper->pending[i] = keeper->pending[i + 1];
	if (pending->stage != STAGE_DONE)
		give_up_lane(keeper->link, pending, now_us);
	pending_free(pending);
}

/* When it is crowded the oldest of those who came has to go: the right peer needs a moment only. */
static void make_room_for_lane(struct keeper *keeper, int64_t now_us)
{
	if (keeper->count < PENDING_MAX)
		return;
	unsigned oldest = 0;
	while (oldest < PENDING_MAX - 1 && keeper->pending[oldest]->dialled)
		oldest++;
	pending_note_problem(keeper->link, keeper->pending[oldest], _("too many callers at once"));
	drop_lane(keeper, oldest, now_us);
}

static void add_lane(struct keeper *keeper, int fd, int lane, int64_t now_us)
{
	make_room_for_lane(keeper, now_us);
	keeper->pending[keeper->count++] = pending_new(keeper->link, fd, lane, now_us);
}

static void accept_callers(struct keeper *keeper, int64_t now_us)
{
	int fd;
	/* A few at a time, so that a flood does not keep us from those who wait. */
	for (int i = 0; i < 8 && (fd = socket_accept(&keeper->link->source)) >= 0; i++)
		add_lane(keeper, fd, -1, now_us);
}

/* Dial what is down and due. Returns when the next one will be due. */
static int64_t dial_lanes(struct keeper *keeper, int64_t now_us)
{
	struct link *link = keeper->link;
	int64_t next_us = INT64_MAX;
	for (unsigned i = 0; i < link->config.connections; i++) {
		struct lane *lane = &link->lanes[i];
		pthread_mutex_lock(&link->lock);
		bool down = lane->state == LANE_DOWN;
		bool due = down && lane->dial_at_us <= now_us;
		if (due)
			lane->state = LANE_DIALLING;
		else if (down)
			next_us = MIN(next_us, lane->dial_at_us);
		pthread_mutex_unlock(&link->lock);
		if (!due)
			continue;
		int fd = socket_dial(&link->source);
		int saved_errno = errno;
		if (fd >= 0) {
			add_lane(keeper, fd, (int) i, now_us);
			continue;
		}
		struct pending failed = { .dialled = true, .lane = (int) i };
		pending_note_problem(link, &failed, g_strerror(saved_errno));
		give_up_lane(link, &failed, now_us);
		next_us = MIN(next_us, now_us + BACKOFF_LAST_MS * 1000ll);
	}
	return next_us;
}

static uint32_t taken_lanes(const struct keeper *keeper)
{
	uint32_t taken = 0;
	for (unsigned i = 0; i < keeper->count; i++)
		if (keeper->pending[i]->lane >= 0)
			taken |= 1u << keeper->pending[i]->lane;
	return taken;
}

static void step_pending(struct keeper *keeper, unsigned index, int64_t now_us)
{
	struct pending *pending = keeper->pending[index];
	pending->taken = taken_lanes(keeper);
	enum pending_answer answer = pending_step(pending, now_us);
	if (answer == PENDING_WAITS)
		return;
	if (answer == PENDING_DONE)
		hand_over_lane(keeper->link, pending);
	drop_lane(keeper, index, now_us);
}

/* With the lock held. WHAT takes the seconds since SINCE_US, and the last problem. */
static void fail_of_silence(struct link *link, int64_t now_us, int64_t since_us, const char *next,
			    const char *what)
{
	GError *failure = NULL;
	g_autofree char *seconds = g_strdup_printf("%.1f", (double) (now_us - since_us) / 1e6);
	error_set(&failure, WATARI_ERROR_INTERNAL, next, _("%s for %s s; the last problem was: %s"),
		  what, seconds, link->last_problem[0] ? link->last_problem : _("none"));
	link_end(link, LINK_FAILED, failure, NULL);
}

/* How long the link may stay as it is from now: dark, or with lanes that come up and break again
 * while nothing arrives over them. 0: it just failed of it. */
static int64_t check_silence(struct link *link, int64_t now_us)
{
	int64_t dark_us = INT64_MAX, still_us = INT64_MAX;
	pthread_mutex_lock(&link->lock);
	if (link->phase == LINK_RUNNING && link->dark_base_us)
		dark_us = link->dark_base_us + link->timeout_ms * 1000ll - now_us;
	if (link->phase == LINK_RUNNING && link->broke_since && link_waits_for_arrival(link))
		still_us = link->progress_us + link->timeout_ms * 1000ll - now_us;
	bool came_up = link->reconnects > link->progress_reconnects;
	if (dark_us <= 0 || (still_us <= 0 && !came_up))
		fail_of_silence(link, now_us,
				link->dark_since_us ? link->dark_since_us : link->progress_us,
				_("check the network and the firewalls between the two hosts"),
				_("no connection to the other mover"));
	else if (still_us <= 0)
		fail_of_silence(link, now_us, link->progress_us,
				_("look at the MTU of the network between the two hosts"),
				_("connections come up, but nothing arrives at the other mover (is "
				  "the MTU right?)"));
	pthread_mutex_unlock(&link->lock);
	return MAX(MIN(dark_us, still_us), 0);
}

static void keeper_wait(struct keeper *keeper, int64_t now_us, int64_t until_us)
{
	struct link *link = keeper->link;
	struct pollfd fds[PENDING_MAX + 2] = {
		{ .fd = link->keeper_fd, .events = POLLIN },
		{ .fd = link->source.listen_fd, .events = POLLIN }, /* -1 is ignored */
	};
	for (unsigned i = 0; i < keeper->count; i++) {
		struct pending *pending = keeper->pending[i];
		fds[i + 2] = (struct pollfd){ .fd = channel_fd(pending->channel),
					      .events = pending_wants(pending) };
		until_us = MIN(until_us, pending->deadline_us);
	}
	int64_t wait_ms = until_us == INT64_MAX ? -1 : MAX(0, (until_us - now_us + 999) / 1000);
	int n = poll(fds, keeper->count + 2, (int) MIN(wait_ms, 60000));
	if (n > 0 && fds[0].revents)
		wake_fd_clear(link->keeper_fd);
	if (n > 0 && (fds[1].revents & POLLIN))
		accept_callers(keeper, clock_now_us());
}

static bool is_running(struct link *link)
{
	pthread_mutex_lock(&link->lock);
	bool running = link->phase == LINK_RUNNING;
	pthread_mutex_unlock(&link->lock);
	return running;
}

void *keeper_main(void *argument)
{
	struct keeper keeper = { .link = argument };
	struct link *link = keeper.link;
	while (is_running(link)) {
		int64_t now_us = clock_now_us(), until_us = INT64_MAX;
		for (unsigned i = keeper.count; i-- > 0;)
			step_pending(&keeper, i, now_us);
		if (link->source.count)
			until_us = dial_lanes(&keeper, now_us);
		int64_t left_us = check_silence(link, now_us);
		if (left_us == 0)
			break;
		if (left_us != INT64_MAX)
			until_us = MIN(until_us, now_us + left_us);
		keeper_wait(&keeper, now_us, until_us);
	}
	while (keeper.count)
		drop_lane(&keeper, keeper.count - 1, clock_now_us());
	return NULL;
}
