/* SPDX-License-Identifier: Apache-2.0 */
/* The link's face to the application; see link.h, and internal.h for the inside. */
#include "link/link.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"
#include "base/wait.h"
#include "link/internal.h"

#define WINDOW_MAX_DEFAULT (64ull * 1024 * 1024)
#define TIMEOUT_DEFAULT_MS 60000
#define KEPT_MAX (16ull * 1024 * 1024) /* of free blocks, for the next frames */

/* ---- shared by all files: with the lock held ---- */

void wake_fd_set(int fd)
{
	uint64_t one = 1;
	if (write(fd, &one, sizeof(one)) < 0)
		return; /* full: it is awake */
}

void wake_fd_clear(int fd)
{
	uint64_t count;
	if (read(fd, &count, sizeof(count)) < 0)
		return;
}

static void wake_everybody(struct link *link)
{
	for (unsigned i = 0; i < link->config.connections; i++) {
		pthread_cond_broadcast(&link->lanes[i].given);
		wake_fd_set(link->lanes[i].wake_fd);
	}
	for (unsigned i = 0; i < LINK_STREAM_LAST; i++) {
		pthread_cond_broadcast(&link->queues[i].space);
		pthread_cond_broadcast(&link->reorders[i].arrival);
	}
	pthread_cond_broadcast(&link->changed);
	wake_fd_set(link->keeper_fd);
}

void link_end(struct link *link, enum link_phase phase, GError *failure, const char *tell)
{
	if (link->phase == LINK_CLOSED || link->phase == LINK_FAILED) {
		g_error_free(failure);
		return;
	}
	link->phase = phase;
	link->failure = failure;
	link->ended_us = clock_now_us();
	link->tell = g_strdup(tell);
	for (unsigned i = 0; i < link->config.connections; i++)
		link->lanes[i].tell_close = tell && link->lanes[i].state == LANE_UP;
	wake_everybody(link);
}

void link_fail_protocol(struct link *link, const char *problem)
{
	GError *failure = NULL;
	error_set(&failure, WATARI_ERROR_INTERNAL,
		  _("use the same version of watari on both hosts"),
		  _("the other mover broke the link's protocol: %s"), problem);
	g_autofree char *tell = g_strdup_printf(_("protocol broken: %s"), problem);
	link_end(link, LINK_FAILED, failure, tell);
}

/* In turn, so that all lanes carry something even when one would do. */
void link_wake_lane(struct link *link)
{
	unsigned count = link->config.connections;
	for (unsigned i = 1; i <= count; i++) {
		struct lane *lane = &link->lanes[(link->last_woken + i) % count];
		if (!lane->idle)
			continue;
		lane->idle = false;
		link->last_woken = lane->index;
		wake_fd_set(lane->wake_fd);
		return;
	}
}

void link_note_problem(struct link *link, const char *what, const char *problem)
{
	g_snprintf(link->last_problem, sizeof(link->last_problem), "%s: %s", what, problem);
}

void link_note_progress(struct link *link, int64_t now_us)
{
	link->progress_us = now_us;
	link->progress_reconnects = link->reconnects;
	link->broke_since = false;
}

bool link_waits_for_arrival(const struct link *link)
{
	for (unsigned i = 0; i < LINK_STREAM_LAST; i++)
		if (!queue_has_arrived(&link->queues[i]))
			return true;
	return false;
}

int64_t link_round_trip_us(const struct link *link)
{
	int64_t smallest = 0;
	for (unsigned i = 0; i < link->config.connections; i++) {
		int64_t at = link->lanes[i].round_trip_us;
		if (at > 0 && (!smallest || at < smallest))
			smallest = at;
	}
	return smallest;
}

/* ---- making and unmaking ---- */

static bool init_lane(struct link *link, unsigned index)
{
	struct lane *lane = &link->lanes[index];
	lane->link = link;
	lane->index = index;
	lane->fd = -1;
	wait_cond_init(&lane->given);
	lane->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return lane->wake_fd >= 0;
}

static bool check_config(const struct link_config *config, GError **error)
{
	if (config->connections < 1 || config->connections > LINK_CONNECTIONS_MAX)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("%u connections asked for, 1 to %d are possible"),
				 config->connections, LINK_CONNECTIONS_MAX);
	if (!memchr(config->id, 0, sizeof(config->id)) || !config->id[0])
		return error_set(error, WATARI_ERROR_INTERNAL, NULL, _("the link has no identity"));
	return true;
}

struct link *link_new(const struct link_config *config, GError **error)
{
	if (!check_config(config, error))
		return NULL;
	struct link *link = g_new0(struct link, 1);
	link->config = *config;
	uint64_t window_max = config->window_max ? config->window_max : WINDOW_MAX_DEFAULT;
	link->config.window_max = MAX(window_max, WIRE_WINDOW_MIN);
	link->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : TIMEOUT_DEFAULT_MS;
	socket_source_init(&link->source);
	pthread_mutex_init(&link->lock, NULL);
	wait_cond_init(&link->changed);
	pool_init(&link->pool, MIN(link->config.window_max / 4, KEPT_MAX));
	for (unsigned i = 0; i < LINK_STREAM_LAST; i++) {
		uint64_t bytes_max = i == LINK_MEMORY ? link->config.window_max : WIRE_WINDOW_SMALL;
		queue_init(&link->queues[i], i, &link->pool, bytes_max);
		reorder_init(&link->reorders[i], i, &link->pool, bytes_max);
	}
	atomic_store(&link->bandwidth, config->bandwidth);
	bucket_set_rate(&link->bucket, config->bandwidth, clock_now_us());
	link->keeper_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	bool good = link->keeper_fd >= 0;
	for (unsigned i = 0; i < LINK_CONNECTIONS_MAX; i++)
		link->lanes[i].wake_fd = -1;
	for (unsigned i = 0; i < config->connections; i++)
		good &= init_lane(link, i);
	if (!good)
		error_set(error, WATARI_ERROR_INTERNAL, NULL, _("no event descriptor: %s"),
			  g_strerror(errno));
	else
		link->tls = tls_new(config, error);
	explicit_bzero(link->config.key, sizeof(link->config.key));
	if (!link->tls)
		g_clear_pointer(&link, link_free);
	return link;
}

void link_free(struct link *link)
{
	if (!link)
		return;
	link_close(link, NULL);
	if (link->keeper_started)
		pthread_join(link->keeper, NULL);
	for (unsigned i = 0; i < link->lanes_started; i++)
		pthread_join(link->lanes[i].thread, NULL);
	for (unsigned i = 0; i < link->config.connections; i++) {
		channel_free(link->lanes[i].next);
		fd_clear(&link->lanes[i].wake_fd);
		pthread_cond_destroy(&link->lanes[i].given);
	}
	fd_clear(&link->keeper_fd);
	socket_source_clear(&link->source);
	for (unsigned i = 0; i < LINK_STREAM_LAST; i++) {
		queue_destroy(&link->queues[i]);
		reorder_destroy(&link->reorders[i]);
	}
	pool_destroy(&link->pool);
	tls_free(link->tls);
	g_clear_error(&link->failure);
	g_free(link->tell);
	pthread_cond_destroy(&link->changed);
	pthread_mutex_destroy(&link->lock);
	g_free(link);
}

bool link_listen_tcp(struct link *link, const char *address, uint16_t first_port,
		     uint16_t last_port, uint16_t *port, GError **error)
{
	return socket_listen_tcp(&link->source, address, first_port, last_port, port, error);
}

bool link_listen_unix(struct link *link, const char *path, GError **error)
{
	return socket_listen_unix(&link->source, path, error);
}

bool link_connect_tcp(struct link *link, const char *const *addresses, uint16_t port,
		      GError **error)
{
	return socket_resolve(&link->source, addresses, port, error);
}

/* Signals are the application's business. */
static bool start_thread(pthread_t *thread, void *(*main)(void *), void *argument)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int problem = pthread_create(thread, NULL, main, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = problem;
	return problem == 0;
}

bool link_start(struct link *link, GError **error)
{
	pthread_mutex_lock(&link->lock);
	bool fresh = link->phase == LINK_NEW;
	if (fresh)
		link->phase = LINK_RUNNING;
	link->dark_since_us = link->dark_base_us = clock_now_us();
	pthread_mutex_unlock(&link->lock);
	if (!fresh || (link->source.listen_fd < 0 && !link->source.count))
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("the link cannot start: it has nowhere to connect"));
	for (unsigned i = 0; i < link->config.connections; i++, link->lanes_started++) {
		if (!start_thread(&link->lanes[i].thread, lane_main, &link->lanes[i]))
			goto out;
	}
	link->keeper_started = start_thread(&link->keeper, keeper_main, link);
out:
	if (!link->keeper_started)
		error_set(error, WATARI_ERROR_INTERNAL, NULL, _("no thread: %s"),
			  g_strerror(errno));
	return link->keeper_started;
}

/* ---- waiting; with the lock held ---- */

static int64_t deadline_after(int timeout_ms)
{
	return clock_now_us() + timeout_ms * INT64_C(1000);
}

/* Returns false when the time is over; UNTIL_US negative: never. */
static bool wait_for(struct link *link, pthread_cond_t *cond, int64_t until_us)
{
	if (until_us < 0)
		return pthread_cond_wait(cond, &link->lock) == 0;
	return wait_cond_until(cond, &link->lock, until_us);
}

static bool fail_as_ended(const struct link *link, GError **error)
{
	if (link->failure)
		g_propagate_error(error, g_error_copy(link->failure));
	else
		error_set(error, WATARI_ERROR_INTERNAL, NULL, _("the link was not started"));
	return false;
}

static bool has_ended(const struct link *link)
{
	return link->phase == LINK_CLOSED || link->phase == LINK_FAILED;
}

bool link_wait_reached(struct link *link, int timeout_ms)
{
	int64_t deadline_us = deadline_after(timeout_ms);
	pthread_mutex_lock(&link->lock);
	while (!link->reached && link->phase == LINK_RUNNING &&
	       wait_for(link, &link->changed, deadline_us))
		continue;
	bool reached = link->reached;
	pthread_mutex_unlock(&link->lock);
	return reached;
}

bool link_wait_up(struct link *link, int timeout_ms, GError **error)
{
	int64_t deadline_us = timeout_ms < 0 ? -1 : deadline_after(timeout_ms);
	uint32_t all = (1u << link->config.connections) - 1;
	bool good = true;
	pthread_mutex_lock(&link->lock);
	while (good && link->ever_up != all) {
		if (link->phase != LINK_RUNNING)
			good = fail_as_ended(link, error);
		else if (!wait_for(link, &link->changed, deadline_us))
			good = error_set(
				error, WATARI_ERROR_INTERNAL,
				_("check the network and the firewalls between the two hosts"),
				_("the link is not up after %.1f s (%d of %u connections); the "
				  "last "
				  "problem was: %s"),
				timeout_ms / 1e3, __builtin_popcount(link->ever_up),
				link->config.connections,
				link->last_problem[0] ? link->last_problem : _("none"));
	}
	pthread_mutex_unlock(&link->lock);
	return good;
}

/* ---- sending ---- */

static bool may_send(const struct link *link, enum link_stream stream)
{
	return link->config.source ? wire_streams[stream].from_source
				   : wire_streams[stream].from_destination;
}

struct link_frame *link_frame_begin(struct link *link, enum link_stream stream, GError **error)
{
	struct queue *queue = &link->queues[stream];
	struct frame *frame = NULL;
	pthread_mutex_lock(&link->lock);
	while (!has_ended(link) && !queue_has_space(queue))
		pthread_cond_wait(&queue->space, &link->lock);
	bool good = true;
	if (has_ended(link))
		good = fail_as_ended(link, error);
	else if (queue->finished || !may_send(link, stream))
		good = error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("stream “%s” takes no frames from this side (any more)"),
				 wire_streams[stream].name);
	if (good)
		queue->begun++;
	pthread_mutex_unlock(&link->lock);
	if (good)
		frame = pool_get(&link->pool, LINK_PAYLOAD_MAX);
	return good ? &frame->public : NULL;
}

void link_frame_commit(struct link *link, enum link_stream stream, struct link_frame *public)
{
	struct frame *frame = (struct frame *) public;
	struct queue *queue = &link->queues[stream];
	g_assert(public->length <= LINK_PAYLOAD_MAX);
	pthread_mutex_lock(&link->lock);
	g_assert(queue->begun > 0 && !queue->finished);
	queue->begun--;
	int64_t now_us = clock_now_us();
	if (!link_waits_for_arrival(link))
		link_note_progress(link, now_us);
	queue_commit(queue, frame, now_us);
	link_wake_lane(link);
	pthread_mutex_unlock(&link->lock);
}

void link_frame_cancel(struct link *link, enum link_stream stream, struct link_frame *public)
{
	struct queue *queue = &link->queues[stream];
	pthread_mutex_lock(&link->lock);
	g_assert(queue->begun > 0);
	queue->begun--;
	pthread_cond_broadcast(&queue->space);
	pthread_mutex_unlock(&link->lock);
	pool_put(&link->pool, (struct frame *) public);
}

void link_finish(struct link *link, enum link_stream stream)
{
	struct queue *queue = &link->queues[stream];
	pthread_mutex_lock(&link->lock);
	if (!queue->finished && may_send(link, stream)) {
		queue->finished = queue->tell_finish = true;
		link_wake_lane(link);
	}
	pthread_mutex_unlock(&link->lock);
}

bool link_drain(struct link *link, enum link_stream stream, int timeout_ms, GError **error)
{
	struct queue *queue = &link->queues[stream];
	int64_t deadline_us = timeout_ms < 0 ? -1 : deadline_after(timeout_ms);
	bool good = true;
	pthread_mutex_lock(&link->lock);
	while (good && !queue_is_drained(queue)) {
		if (has_ended(link))
			good = fail_as_ended(link, error);
		else if (!wait_for(link, &link->changed, deadline_us))
			good = error_set(
				error, WATARI_ERROR_INTERNAL, NULL,
				_("the other mover has not taken all of stream “%s” within "
				  "%.1f s"),
				wire_streams[stream].name, timeout_ms / 1e3);
	}
	pthread_mutex_unlock(&link->lock);
	return good;
}

bool link_check(struct link *link, GError **error)
{
	pthread_mutex_lock(&link->lock);
	bool good = !has_ended(link) || fail_as_ended(link, error);
	pthread_mutex_unlock(&link->lock);
	return good;
}

/* ---- receiving ---- */

struct link_frame *link_receive(struct link *link, enum link_stream stream, int timeout_ms,
				bool *finished, GError **error)
{
	struct reorder *reorder = &link->reorders[stream];
	int64_t deadline_us = timeout_ms < 0 ? -1 : deadline_after(timeout_ms);
	struct frame *frame = NULL;
	bool over = false;
	pthread_mutex_lock(&link->lock);
	for (bool waited = true;;) {
		if (link->phase != LINK_CLOSED)
			frame = reorder_next(reorder);
		over = !frame && reorder_is_finished(reorder);
		if (frame || over)
			break;
		if (has_ended(link)) {
			fail_as_ended(link, error);
			break;
		}
		if (!waited || timeout_ms == 0)
			break;
		waited = wait_for(link, &reorder->arrival, deadline_us);
	}
	pthread_mutex_unlock(&link->lock);
	if (finished)
		*finished = over;
	return frame ? &frame->public : NULL;
}

void link_frame_done(struct link *link, enum link_stream stream, struct link_frame *public)
{
	struct reorder *reorder = &link->reorders[stream];
	pthread_mutex_lock(&link->lock);
	bool known = reorder_done(reorder, (struct frame *) public);
	g_assert(known);
	if (!reorder->tell_ack) {
		reorder->tell_ack = true;
		link_wake_lane(link);
	}
	pthread_mutex_unlock(&link->lock);
}

/* ---- from any thread ---- */

void link_set_bandwidth(struct link *link, uint64_t bytes_per_s)
{
	pthread_mutex_lock(&link->lock);
	bucket_set_rate(&link->bucket, bytes_per_s, clock_now_us());
	atomic_store(&link->bandwidth, bytes_per_s);
	for (unsigned i = 0; i < link->config.connections; i++)
		wake_fd_set(link->lanes[i].wake_fd);
	pthread_mutex_unlock(&link->lock);
}

void link_set_timeout(struct link *link, int timeout_ms)
{
	pthread_mutex_lock(&link->lock);
	link->timeout_ms = MAX(timeout_ms, 0);
	if (link->dark_base_us)
		link->dark_base_us = clock_now_us();
	link->progress_us = clock_now_us();
	pthread_mutex_unlock(&link->lock);
	wake_fd_set(link->keeper_fd);
}

void link_hurry(struct link *link)
{
	pthread_mutex_lock(&link->lock);
	window_hurry(&link->queues[LINK_MEMORY].window);
	pthread_mutex_unlock(&link->lock);
}

void link_close(struct link *link, const char *reason)
{
	GError *failure = NULL;
	error_set(&failure, WATARI_ERROR_INTERNAL, NULL, _("the link was closed here"));
	pthread_mutex_lock(&link->lock);
	link_end(link, LINK_CLOSED, failure, reason ? reason : "");
	pthread_mutex_unlock(&link->lock);
}

void link_test_cut(struct link *link, unsigned lane)
{
	pthread_mutex_lock(&link->lock);
	if (lane < link->config.connections && link->lanes[lane].fd >= 0)
		shutdown(link->lanes[lane].fd, SHUT_RDWR);
	pthread_mutex_unlock(&link->lock);
}

void link_test_update_keys(struct link *link)
{
	pthread_mutex_lock(&link->lock);
	for (unsigned i = 0; i < link->config.connections; i++) {
		link->lanes[i].update_keys = true;
		wake_fd_set(link->lanes[i].wake_fd);
	}
	pthread_mutex_unlock(&link->lock);
}

void link_forget_rate(struct link *link)
{
	pthread_mutex_lock(&link->lock);
	struct window *window = &link->queues[LINK_MEMORY].window;
	window_init(window, window->minimum, window->maximum);
	pthread_mutex_unlock(&link->lock);
}
