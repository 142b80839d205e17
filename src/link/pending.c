/* SPDX-License-Identifier: Apache-2.0 */
/* One connection on its way to be a lane's. See pending.h. */
#include "link/pending.h"

#include <poll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"

#define HANDSHAKE_US 5000000 /* without a byte that passes */
#define SILENT_US 2000000    /* a packet that was lost has come by then */
#define TRIAL_US 60000000    /* all in all */
/* Several packets of any size that is in use, and full TLS records, over each connection; shared
 * out, so that many connections over a slow path do not take for ever. */
#define TRIAL_BYTES (256 * 1024)
#define TRIAL_LEAST (48 * 1024)
#define NOWHERE_BYTES ((size_t) 16 * 1024) /* of it, read at once */

/* What came of one step. */
enum step { STEP_WAIT, STEP_NEXT, STEP_DEAD };

struct pending *pending_new(struct link *link, int fd, int lane, int64_t now_us)
{
	struct pending *pending = g_new0(struct pending, 1);
	pending->link = link;
	pending->channel = channel_new(link->tls, fd);
	pending->dialled = lane >= 0;
	pending->lane = lane;
	pending->stage = pending->dialled ? STAGE_CONNECT : STAGE_HANDSHAKE;
	pending->began_us = pending->moved_us = now_us;
	pending->deadline_us = now_us + HANDSHAKE_US;
	wire_decoder_init(&pending->decoder, !link->config.source);
	return pending;
}

void pending_free(struct pending *pending)
{
	channel_free(pending->channel);
	g_free(pending);
}

void pending_note_problem(struct link *link, const struct pending *pending, const char *problem)
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

static enum step step_connect(struct pending *pending)
{
	int fd = channel_fd(pending->channel), problem = 0;
	socklen_t length = sizeof(problem);
	struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
	if (poll(&poll_fd, 1, 0) == 0)
		return STEP_WAIT;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &length);
	if (problem == 0)
		return STEP_NEXT;
	pending_note_problem(pending->link, pending, g_strerror(problem));
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

static enum step step_handshake(struct pending *pending)
{
	int result = channel_handshake(pending->channel);
	if (result == 0)
		return STEP_WAIT;
	if (result > 0 && channel_is_secret(pending->channel)) {
		note_reached(pending->link);
		return STEP_NEXT;
	}
	pending_note_problem(pending->link, pending,
			     result < 0 ? channel_problem(pending->channel)
					: _("the key was not used"));
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

static enum step judge_write(struct pending *pending, int result)
{
	if (result < 0)
		pending_note_problem(pending->link, pending, channel_problem(pending->channel));
	return result > 0 ? STEP_NEXT : result == 0 ? STEP_WAIT : STEP_DEAD;
}

static const uint8_t zeros[16 * 1024]; /* a full TLS record */

static enum step step_say(struct pending *pending)
{
	if (!pending->out_length)
		prepare_hello(pending->link, pending);
	while (pending->out_done < pending->out_length) {
		int n = channel_write(pending->channel, pending->out + pending->out_done,
				      pending->out_length - pending->out_done);
		if (n <= 0)
			return judge_write(pending, n);
		pending->out_done += (size_t) n;
	}
	while (pending->trial_to_send > 0) {
		int n = channel_write(pending->channel, zeros,
				      MIN(pending->trial_to_send, sizeof(zeros)));
		if (n <= 0)
			return judge_write(pending, n);
		pending->trial_to_send -= (uint32_t) n;
		note_moved(pending);
	}
	return judge_write(pending, channel_flush(pending->channel));
}

/* The source chooses: the lane that was dialled or asked for, else one that is down. */
static int choose_lane(const struct pending *pending)
{
	struct link *link = pending->link;
	if (pending->lane >= 0)
		return pending->lane;
	if (pending->heard.lane != WIRE_LANE_ANY)
		return pending->heard.lane;
	int found = -1;
	pthread_mutex_lock(&link->lock);
	for (unsigned i = 0; i < link->config.connections && found < 0; i++) {
		if (link->lanes[i].state == LANE_DOWN && !(pending->taken & 1u << i))
			found = (int) i;
	}
	pthread_mutex_unlock(&link->lock);
	return found;
}

static enum step agree_on_key(struct pending *pending)
{
	struct link *link = pending->link;
	if (pending->heard.lanes != link->config.connections) {
		fail_protocol(link, _("it was started with another number of connections"));
		return STEP_DEAD;
	}
	if (link->config.source)
		pending->lane = choose_lane(pending);
	else if (pending->heard.lane == WIRE_LANE_ANY ||
		 (pending->dialled && pending->heard.lane != pending->lane))
		return STEP_DEAD;
	else
		pending->lane = pending->heard.lane;
	return pending->lane < 0 ? STEP_DEAD : STEP_NEXT;
}

/* Where the next bytes go: the hello, and then those of the trial nowhere. */
static size_t next_space(struct pending *pending, uint8_t nowhere[NOWHERE_BYTES], uint8_t **at)
{
	if (!pending->has_heard)
		return wire_decoder_space(&pending->decoder, at);
	*at = nowhere;
	return MIN(pending->trial_to_come, NOWHERE_BYTES);
}

static enum step step_hear(struct pending *pending)
{
	while (!pending->has_heard || pending->trial_to_come > 0) {
		uint8_t nowhere[NOWHERE_BYTES], *at;
		size_t wanted = next_space(pending, nowhere, &at);
		int n = channel_read(pending->channel, at, wanted);
		if (n == 0)
			return STEP_WAIT;
		if (n < 0) {
			pending_note_problem(pending->link, pending,
					     channel_problem(pending->channel));
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
		fail_protocol(pending->link, event == WIRE_BAD ? _(pending->decoder.problem)
							       : _("it did not say hello"));
		return STEP_DEAD;
	}
	return agree_on_key(pending);
}

static enum step (*const steps[])(struct pending *) = {
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

/* The key was proved, so packets pass; and then nothing came, for longer than a packet may be
 * lost. When that is so for as many connections as are wanted and none ever came up, it stays so. */
static void note_failed_trial(const struct pending *pending, int64_t now_us)
{
	struct link *link = pending->link;
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

enum pending_answer pending_step(struct pending *pending, int64_t now_us)
{
	enum step step = STEP_NEXT;
	while (step == STEP_NEXT && pending->stage != STAGE_DONE) {
		step = steps[pending->stage](pending);
		if (step == STEP_NEXT)
			pending->stage = next_stage[pending->link->config.source][pending->stage];
	}
	if (step == STEP_WAIT && now_us < pending->deadline_us)
		return PENDING_WAITS;
	if (step == STEP_WAIT)
		pending_note_problem(pending->link, pending, _("no answer in time"));
	if (step != STEP_NEXT && pending->stage > STAGE_HANDSHAKE)
		note_failed_trial(pending, now_us);
	return step == STEP_NEXT ? PENDING_DONE : PENDING_DEAD;
}

short pending_wants(const struct pending *pending)
{
	if (pending->stage == STAGE_CONNECT)
		return POLLOUT;
	return pending->stage == STAGE_HEAR ? POLLIN : channel_wants(pending->channel);
}
