/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper: makes connections and gives them to the lanes.
 *
 * One thread with one poll. It takes whoever comes to the listening socket, or dials the lanes that
 * are down; each connection goes through the stages below, none of which can hold up another one,
 * and none of which may last longer than HANDSHAKE_US. Strangers get as far as the TLS handshake.
 * A lane that works is not touched by any of this.
 *
 *   connect -> handshake -> (destination) say hello -> hear hello -> lane
 *                           (source)      hear hello -> say hello -> lane
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"
#include "link/internal.h"

#define PENDING_MAX 32
#define HANDSHAKE_US 5000000 /* without a byte that passes */
#define SILENT_US 2000000    /* a packet that was lost has come by then */
#define TRIAL_US 60000000    /* all in all */
/* Several packets of any size that is in use, and full TLS records, over each connection; shared out, so that
 * many connections over a slow path do not take for ever. */
#define TRIAL_BYTES (256 * 1024)
#define TRIAL_LEAST (48 * 1024)
#define BACKOFF_FIRST_MS 100
#define BACKOFF_LAST_MS 2000

enum stage { STAGE_CONNECT, STAGE_HANDSHAKE, STAGE_SAY, STAGE_HEAR, STAGE_DONE };

/* What came of one step. */
enum step { STEP_WAIT, STEP_NEXT, STEP_DEAD };

struct pending {
	enum stage stage;
	struct channel *channel;
	bool dialled;
	int lane;                                /* -1: not known yet */
	int64_t began_us, moved_us, deadline_us; /* moved: bytes did */
	struct wire_decoder decoder;
	struct wire_hello heard;
	uint8_t out[WIRE_HEADER_BYTES + WIRE_HELLO_BYTES];
	size_t out_length, out_done;
	bool has_heard; /* the hello */
	uint32_t trial_to_send, trial_to_come;
};

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

/* ---- one pending connection ---- */

static struct pending *pending_new(struct link *link, int fd, int lane, int64_t now_us)
{
	struct pending *pending = g_new0(struct pending, 1);
	pending->channel = channel_new(link->tls, fd);
	pending->dialled = lane >= 0;
	pending->lane = lane;
	pending->stage = pending->dialled ? STAGE_CONNECT : STAGE_HANDSHAKE;
	pending->began_us = pending->moved_us = now_us;
	pending->deadline_us = now_us + HANDSHAKE_US;
	wire_decoder_init(&pending->decoder, !link->config.source);
	return pending;
}

static void pending_free(struct pending *pending)
{
	channel_free(pending->channel);
	g_free(pending);
}

static void note_problem(struct link *link, const struct pending *pending, const char *problem)
{
	pthread_mutex_lock(&link->lock);
	if (!pending->dialled)
		link->refused_peers++;
	link_note_problem(link, pending->dialled ? _("cannot connect") : _("a caller was refused"),
			  problem);
	pthread_mutex_unlock(&link->lock);
}

/* A stranger must not be able to end the link, but who has proved the key and speaks another
 * language is our peer, and will not get better. */
static void fail_protocol(struct link *link, const char *problem)
{
	pthread_mutex_lock(&link->lock);
	link_fail_protocol(link, problem);
	pthread_mutex_unlock(&link->lock);
}

static enum step step_connect(struct keeper *keeper, struct pending *pending)
{
	int fd = channel_fd(pending->channel), problem = 0;
	socklen_t length = sizeof(problem);
	struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
	if (poll(&poll_fd, 1, 0) == 0)
		return STEP_WAIT;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &length);
	if (problem == 0)
		return STEP_NEXT;
	note_problem(keeper->link, pending, g_strerror(problem));
	return STEP_DEAD;
}

static void note_reached(struct link *link)
{
	pthread_mutex_lock(&link->lock);
	link->reached = true;
	pthread_cond_broadcast(&link->changed);
	pthread_mutex_unlock(&link->lock);
}

/* Who proved the key and lets bytes pass is given time: the path may be slow. */
static void note_moved(struct pending *pending)
{
	pending->moved_us = clock_now_us();
	pending->deadline_us = MIN(pending->moved_us + HANDSHAKE_US, pending->began_us + TRIAL_US);
}

static enum step step_handshake(struct keeper *keeper, struct pending *pending)
{
	int result = channel_handshake(pending->channel);
	if (result == 0)
		return STEP_WAIT;
	if (result > 0 && channel_is_secret(pending->channel)) {
		note_reached(keeper->link);
		return STEP_NEXT;
	}
	note_problem(keeper->link, pending,
		     result < 0 ? channel_problem(pending->channel) : _("the key was not used"));
	return STEP_DEAD;
}

static void prepare_hello(struct link *link, struct pending *pending)
{
	struct wire_hello hello = {
		.version = WIRE_VERSION,
		.lane = pending->lane < 0 ? WIRE_LANE_ANY : (uint16_t) pending->lane,
		.lanes = (uint16_t) link->config.connections,
		.source = link->config.source,
		.window = link->config.window_max,
	};
	unsigned count = link->config.connections;
	pthread_mutex_lock(&link->lock);
	for (unsigned i = 0; i < LINK_STREAM_LAST; i++)
		hello.expected[i] = link->reorders[i].expected;
	/* As long as either side has never had all of them. */
	if (link->ever_up != (1u << count) - 1 || pending->heard.trial > 0)
		hello.trial = MAX(TRIAL_BYTES / count, TRIAL_LEAST);
	pthread_mutex_unlock(&link->lock);
	pending->trial_to_send = hello.trial;
	pending->out_length = wire_put_hello(pending->out, &hello);
}

static enum step judge_write(struct keeper *keeper, struct pending *pending, int result)
{
	if (result < 0)
		note_problem(keeper->link, pending, channel_problem(pending->channel));
	return result > 0 ? STEP_NEXT : result == 0 ? STEP_WAIT : STEP_DEAD;
}

static const uint8_t zeros[16 * 1024]; /* a full TLS record */

static enum step step_say(struct keeper *keeper, struct pending *pending)
{
	if (!pending->out_length)
		prepare_hello(keeper->link, pending);
	while (pending->out_done < pending->out_length) {
		int n = channel_write(pending->channel, pending->out + pending->out_done,
				      pending->out_length - pending->out_done);
		if (n <= 0)
			return judge_write(keeper, pending, n);
		pending->out_done += (size_t) n;
	}
	while (pending->trial_to_send > 0) {
		int n = channel_write(pending->channel, zeros,
				      MIN(pending->trial_to_send, sizeof(zeros)));
		if (n <= 0)
			return judge_write(keeper, pending, n);
		pending->trial_to_send -= (uint32_t) n;
		note_moved(pending);
	}
	return judge_write(keeper, pending, channel_flush(pending->channel));
}

/* The source chooses: the lane that was dialled or asked for, else one that is down. */
static int choose_lane(struct keeper *keeper, const struct pending *pending)
{
	struct link *link = keeper->link;
	uint32_t taken = 0;
	if (pending->lane >= 0)
		return pending->lane;
	if (pending->heard.lane != WIRE_LANE_ANY)
		return pending->heard.lane;
	for (unsigned i = 0; i < keeper->count; i++) {
		if (keeper->pending[i]->lane >= 0)
			taken |= 1u << keeper->pending[i]->lane;
	}
	int found = -1;
	pthread_mutex_lock(&link->lock);
	for (unsigned i = 0; i < link->config.connections && found < 0; i++) {
		if (link->lanes[i].state == LANE_DOWN && !(taken & 1u << i))
			found = (int) i;
	}
	pthread_mutex_unlock(&link->lock);
	return found;
}

static enum step agree(struct keeper *keeper, struct pending *pending)
{
	struct link *link = keeper->link;
	if (pending->heard.lanes != link->config.connections) {
		fail_protocol(link, _("it was started with another number of connections"));
		return STEP_DEAD;
	}
	if (link->config.source)
		pending->lane = choose_lane(keeper, pending);
	else if (pending->heard.lane == WIRE_LANE_ANY ||
		 (pending->dialled && pending->heard.lane != pending->lane))
		return STEP_DEAD;
	else
		pending->lane = pending->heard.lane;
	return pending->lane < 0 ? STEP_DEAD : STEP_NEXT;
}

/* Where the next bytes go: the hello, and then those of the trial nowhere. */
static size_t next_space(struct pending *pending, uint8_t **at)
{
	static uint8_t nowhere[16 * 1024];
	if (!pending->has_heard)
		return wire_decoder_space(&pending->decoder, at);
	*at = nowhere;
	return MIN(pending->trial_to_come, sizeof(nowhere));
}

static enum step step_hear(struct keeper *keeper, struct pending *pending)
{
	while (!pending->has_heard || pending->trial_to_come > 0) {
		uint8_t *at;
		size_t wanted = next_space(pending, &at);
		int n = channel_read(pending->channel, at, wanted);
		if (n == 0)
			return STEP_WAIT;
		if (n < 0) {
			note_problem(keeper->link, pending, channel_problem(pending->channel));
			return STEP_DEAD;
		}
		note_moved(pending);
		if (pending->has_heard) {
			pending->trial_to_come -= (uint32_t) n;
			continue;
		}
		enum wire_event event = wire_decoder_advance(&pending->decoder, (size_t) n);
		if (event == WIRE_MORE)
			continue;
		const struct wire_message *message = &pending->decoder.message;
		if (event == WIRE_MESSAGE && message->type == WIRE_HELLO) {
			pending->heard = message->hello;
			pending->has_heard = true;
			pending->trial_to_come = message->hello.trial;
			continue;
		}
		fail_protocol(keeper->link, event == WIRE_BAD ? _(pending->decoder.problem)
							      : _("it did not say hello"));
		return STEP_DEAD;
	}
	return agree(keeper, pending);
}

static enum step (*const steps[])(struct keeper *, struct pending *) = {
	[STAGE_CONNECT] = step_connect,
	[STAGE_HANDSHAKE] = step_handshake,
	[STAGE_SAY] = step_say,
	[STAGE_HEAR] = step_hear,
};
_Static_assert(G_N_ELEMENTS(steps) == STAGE_DONE, "every stage has its step");

static const enum stage next_stage[2][STAGE_DONE] = {
	{ /* destination */
	  [STAGE_CONNECT] = STAGE_HANDSHAKE,
	  [STAGE_HANDSHAKE] = STAGE_SAY,
	  [STAGE_SAY] = STAGE_HEAR,
	  [STAGE_HEAR] = STAGE_DONE },
	{ /* source */
	  [STAGE_CONNECT] = STAGE_HANDSHAKE,
	  [STAGE_HANDSHAKE] = STAGE_HEAR,
	  [STAGE_HEAR] = STAGE_SAY,
	  [STAGE_SAY] = STAGE_DONE },
};

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
static void hand_over(struct link *link, struct pending *pending)
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
static void give_up(struct link *link, struct pending *pending, int64_t now_us)
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

static void drop(struct keeper *keeper, unsigned index, int64_t now_us)
{
	struct pending *pending = keeper->pending[index];
	keeper->count--;
	for (unsigned i = index; i < keeper->count; i++)
		keeper->pending[i] = keeper->pending[i + 1];
	if (pending->stage != STAGE_DONE)
		give_up(keeper->link, pending, now_us);
	pending_free(pending);
}

/* When it is crowded the oldest of those who came has to go: the right peer needs a moment only. */
static void make_room(struct keeper *keeper, int64_t now_us)
{
	if (keeper->count < PENDING_MAX)
		return;
	unsigned oldest = 0;
	while (oldest < PENDING_MAX - 1 && keeper->pending[oldest]->dialled)
		oldest++;
	note_problem(keeper->link, keeper->pending[oldest], _("too many callers at once"));
	drop(keeper, oldest, now_us);
}

static void add(struct keeper *keeper, int fd, int lane, int64_t now_us)
{
	make_room(keeper, now_us);
	keeper->pending[keeper->count++] = pending_new(keeper->link, fd, lane, now_us);
}

static void accept_callers(struct keeper *keeper, int64_t now_us)
{
	int fd;
	/* A few at a time, so that a flood does not keep us from those who wait. */
	for (int i = 0; i < 8 && (fd = socket_accept(&keeper->link->source)) >= 0; i++)
		add(keeper, fd, -1, now_us);
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
			add(keeper, fd, (int) i, now_us);
			continue;
		}
		struct pending failed = { .dialled = true, .lane = (int) i };
		note_problem(link, &failed, g_strerror(saved_errno));
		give_up(link, &failed, now_us);
		next_us = MIN(next_us, now_us + BACKOFF_LAST_MS * 1000ll);
	}
	return next_us;
}

/* The key was proved, so packets pass; and then nothing came, for longer than a packet may be lost. When that is
 * so for as many connections as are wanted and none ever came up, it stays so. */
static void note_failed_trial(struct link *link, const struct pending *pending, int64_t now_us)
{
	/* whoever of the two ends it first */
	if (now_us - pending->moved_us < SILENT_US)
		return;
	pthread_mutex_lock(&link->lock);
	link_note_problem(link, _("a connection came up"),
			  _("small packets pass, large ones do not"));
	if (++link->trials_failed >= link->config.connections && !link->ever_up &&
	    link->phase == LINK_RUNNING) {
		GError *failure = NULL;
		error_set(
			&failure, WATARI_ERROR_INTERNAL,
			_("Look at the MTU of the network between the hosts: the one of their "
			  "interfaces may be larger than what a switch or a tunnel between them "
			  "takes."),
			_("the hosts reach each other, but large packets do not pass: look at the "
			  "MTU"));
		link_end(link, LINK_FAILED, failure, NULL);
	}
	pthread_mutex_unlock(&link->lock);
}

static void step_pending(struct keeper *keeper, unsigned index, int64_t now_us)
{
	struct link *link = keeper->link;
	struct pending *pending = keeper->pending[index];
	enum step step = STEP_NEXT;
	while (step == STEP_NEXT && pending->stage != STAGE_DONE) {
		step = steps[pending->stage](keeper, pending);
		if (step == STEP_NEXT)
			pending->stage = next_stage[link->config.source][pending->stage];
	}
	if (step == STEP_WAIT && now_us < pending->deadline_us)
		return;
	if (step == STEP_WAIT)
		note_problem(link, pending, _("no answer in time"));
	if (step != STEP_NEXT && pending->stage > STAGE_HANDSHAKE)
		note_failed_trial(link, pending, now_us);
	if (step == STEP_NEXT)
		hand_over(link, pending);
	drop(keeper, index, now_us);
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

/* How long the link may stay as it is from now: dark, or with lanes that come up and break again while
 * nothing arrives over them. 0: it just failed of it. */
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
				_("connections come up, but nothing arrives at the other mover"));
	pthread_mutex_unlock(&link->lock);
	return MAX(MIN(dark_us, still_us), 0);
}

static short pending_wants(const struct pending *pending)
{
	if (pending->stage == STAGE_CONNECT)
		return POLLOUT;
	return pending->stage == STAGE_HEAR ? POLLIN : channel_wants(pending->channel);
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
		drop(&keeper, keeper.count - 1, clock_now_us());
	return NULL;
}
