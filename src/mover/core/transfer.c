/* SPDX-License-Identifier: Apache-2.0 */
#include "mover/core/transfer.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"
#include "base/wait.h"
#include "mover/pipeline/decoders.h"
#include "mover/disks/disk_destination.h"
#include "mover/disks/disk_source.h"
#include "mover/core/rehearse_hold.h"
#include "mover/pipeline/encoders.h"
#include "mover/core/guest_memory.h"
#include "mover/core/qemu_socket.h"
#include "mover/pipeline/page_requests.h"
#include "mover/disks/seeds.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static const char *const phase_names[] = {
	[RUN_SETUP] = "setup",       [RUN_MOVING] = "moving", [RUN_STOPPED] = "stopped",
	[RUN_POSTCOPY] = "postcopy", [RUN_LOADED] = "loaded", [RUN_RELEASED] = "released",
	[RUN_REFUSED] = "refused",
};
_Static_assert(G_N_ELEMENTS(phase_names) == RUN_PHASE_LAST, "every phase has a name");

const char *run_phase_name(enum run_phase phase)
{
	return phase_names[phase];
}

/* Long before the destination is prepared and QEMU is asked for anything. */
static bool look_at_qemu(struct run *run, GError **error)
{
	const struct mover_settings *settings = run->settings;
	if (settings->role != MOVER_SOURCE || settings->recover)
		return true;
	int pid = guest_memory_find_qemu(settings->vm_name, settings->vm_uuid, NULL);
	run->owners = pid > 0 ? owners_new(pid, error) : NULL;
	return (run->owners || pid <= 0) && dwell_may_begin(settings, pid, error);
}

struct run *run_new(struct mover_settings *settings, GError **error)
{
	struct run *run = g_new0(struct run, 1);
	run->settings = settings;
	memcpy(run->page_key, settings->key, TAG_KEY_BYTES);
	run->listener = run->qemu = run->disk_listener = -1;
	pthread_mutex_init(&run->sorting, NULL);
	pthread_mutex_init(&run->lock, NULL);
	wait_cond_init(&run->changed);
	run->socket_path = mover_settings_socket(settings, error);
	run->made_directory = run->socket_path && look_at_qemu(run, error) &&
			      local_make_directory(settings, error);
	if (!run->made_directory) {
		run_free(run);
		return NULL;
	}
	if (settings->role == MOVER_SOURCE) {
		run->listener = local_listen(run->socket_path, error);
		if (run->listener < 0) {
			run_free(run);
			return NULL;
		}
	}
	return run;
}

/* libvirt at the destination may have taken them again when it ended its side. */
static void end_owners(struct run *run)
{
	if (run->phase == RUN_RELEASED || run->stream.postcopy)
		owners_hand_over(run->owners);
	else
		owners_give_back(run->owners);
	owners_free(run->owners);
}

void run_free(struct run *run)
{
	if (!run)
		return;
	if (run->link)
		link_close(run->link, NULL);
	pthread_mutex_lock(&run->lock);
	if (run->qemu >= 0)
		shutdown(run->qemu, SHUT_RDWR);
	pthread_mutex_unlock(&run->lock);
	if (run->listener >= 0)
		shutdown(run->listener, SHUT_RDWR);
	disk_source_break(run->disk_source);
	for (unsigned i = 0; i < run->thread_count; i++)
		pthread_join(run->threads[i], NULL);
	encoders_free(run->encoders);
	decoders_free(run->decoders);
	disk_source_free(run->disk_source);
	disk_destination_free(run->disk_destination);
	seeds_free(run->seeds);
	resolver_free(run->resolver);
	sorter_free(run->sorter);
	requests_free(run->requests);
	fd_clear(&run->qemu);
	fd_clear(&run->listener);
	fd_clear(&run->disk_listener);
	if (run->link)
		link_free(run->link);
	/* one that was there already is another mover's, such as an orphan's of the same move */
	if (run->made_directory)
		local_remove(run->settings, run->socket_path, run->disk_socket);
	g_free(run->socket_path);
	g_free(run->disk_socket);
	end_owners(run);
	disks_free(run->disks);
	g_free(run->refuse_code);
	g_free(run->refuse_reason);
	g_free(run->opaque_reason);
	explicit_bzero(run->page_key, sizeof(run->page_key));
	g_free(run->blocks);
	g_queue_clear_full(&run->events, (GDestroyNotify) json_object_unref);
	pthread_cond_destroy(&run->changed);
	pthread_mutex_destroy(&run->lock);
	pthread_mutex_destroy(&run->sorting);
	g_free(run);
}

bool run_spawn(struct run *run, void *(*body)(void *run), GError **error)
{
	g_atomic_int_inc(&run->running);
	int status = pthread_create(&run->threads[run->thread_count], NULL, body, run);
	if (status != 0) {
		g_atomic_int_add(&run->running, -1);
		return error_set(error, WATARI_ERROR_INTERNAL, NULL, _("cannot start a thread: %s"),
				 g_strerror(status));
	}
	run->thread_count++;
	return true;
}

void *run_thread_ends(struct run *run)
{
	if (g_atomic_int_dec_and_test(&run->running))
		run_post(run, "ended", NULL);
	return NULL;
}

bool run_start(struct run *run, GError **error)
{
	return run->settings->role == MOVER_SOURCE ? source_start(run, error)
						   : destination_start(run, error);
}

void run_wait_arrived(struct run *run, int64_t until_us)
{
	enum { LOOK_MS = 5, QUIET_LOOKS = 3 };
	struct link_stats stats;
	unsigned quiet = 0;
	while (quiet < QUIET_LOOKS && clock_now_us() < until_us &&
	       run_get_phase(run) != RUN_REFUSED) {
		g_usleep(LOOK_MS * 1000);
		link_get_stats(run->link, &stats);
		quiet = stats.in_flight ? 0 : quiet + 1;
	}
}

enum run_phase run_get_phase(struct run *run)
{
	pthread_mutex_lock(&run->lock);
	enum run_phase phase = run->phase;
	pthread_mutex_unlock(&run->lock);
	return phase;
}

static void stamp(struct run *run, enum run_phase phase)
{
	int64_t now = clock_now_us();
	if (phase == RUN_STOPPED) {
		run->stopped_us = run->stopped_us ? run->stopped_us : now;
		watchdog_note_stop(run->watchdog, run->stopped_us);
	} else if (phase == RUN_LOADED) {
		run->loaded_us = now;
	} else if (phase == RUN_RELEASED) {
		run->released_us = now;
	}
}

bool run_advance(struct run *run, enum run_phase phase)
{
	pthread_mutex_lock(&run->lock);
	bool allowed = run->phase != RUN_REFUSED;
	bool news = allowed && run->phase < phase;
	if (news) {
		run->phase = phase;
		stamp(run, phase);
		pthread_cond_broadcast(&run->changed);
	}
	pthread_mutex_unlock(&run->lock);
	if (news)
		run_post(run, phase == RUN_MOVING ? "connected" : run_phase_name(phase), NULL);
	return allowed;
}

static void refuse(struct run *run, const char *code, char *reason)
{
	pthread_mutex_lock(&run->lock);
	bool first = run->phase < RUN_RELEASED;
	int64_t stopped_us = run->stopped_us;
	if (first) {
		run->phase = RUN_REFUSED;
		run->refuse_code = g_strdup(code);
		run->refuse_reason = g_strdup(reason);
		if (!run->stream.postcopy)
			owners_give_back(run->owners); /* QEMU opens its images again at once */
		/* Shut, not close: other threads may be inside poll or read on it. */
		if (run->qemu >= 0)
			shutdown(run->qemu, SHUT_RDWR);
		pthread_cond_broadcast(&run->changed);
	}
	pthread_mutex_unlock(&run->lock);
	if (!first)
		return;
	if (run->listener >= 0)
		shutdown(run->listener, SHUT_RDWR);
	if (run->link)
		link_close(run->link, reason);
	disk_source_break(run->disk_source);
	watchdog_rest(run->watchdog); /* QEMU sees the end of all it had: the VM goes on */
	JsonObject *extra = json_object_new();
	json_object_set_string_member(extra, "reason", reason);
	json_object_set_string_member(extra, "code", code);
	if (stopped_us)
		json_object_set_int_member(extra, "stopped_ms",
					   (clock_now_us() - stopped_us) / 1000);
	run_post(run, "refused", extra);
}

void run_refuse(struct run *run, const char *code, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_autofree char *reason = g_strdup_vprintf(format, args);
	va_end(args);
	refuse(run, code, reason);
}

void run_refuse_error(struct run *run, const char *code, const GError *error)
{
	g_autofree char *what = error ? error_what(error) : g_strdup(_("unknown reason"));
	refuse(run, code, what);
}

void run_finish_without_memory(struct run *run)
{
	g_atomic_int_set(&run->no_memory, 1);
	shutdown(run->listener, SHUT_RDWR);
}

bool run_adopt_qemu(struct run *run, int fd)
{
	pthread_mutex_lock(&run->lock);
	bool allowed = run->phase != RUN_REFUSED;
	if (allowed)
		run->qemu = fd;
	pthread_mutex_unlock(&run->lock);
	if (!allowed)
		close(fd);
	return allowed && run_advance(run, RUN_MOVING);
}

/* Events wait in the run's own queue, under its lock: the main loop is only woken for them. */
static gboolean deliver(void *data)
{
	struct run *run = data;
	pthread_mutex_lock(&run->lock);
	JsonObject *event = g_queue_pop_head(&run->events);
	pthread_mutex_unlock(&run->lock);
	if (event) {
		run->on_event(event, run->on_event_data);
		json_object_unref(event);
	}
	return G_SOURCE_REMOVE;
}

void run_post(struct run *run, const char *what, JsonObject *extra)
{
	JsonObject *event = extra ? extra : json_object_new();
	json_object_set_string_member(event, "t", "event");
	json_object_set_string_member(event, "what", what);
	pthread_mutex_lock(&run->lock);
	g_queue_push_tail(&run->events, event);
	pthread_mutex_unlock(&run->lock);
	g_idle_add_full(G_PRIORITY_DEFAULT, deliver, run, NULL);
}

void run_count_frame(struct run *run, struct tag_context *context, const uint8_t tag[TAG_BYTES],
		     uint64_t bytes)
{
	pthread_mutex_lock(&run->lock);
	run->frames++;
	run->bytes += bytes;
	tag_fold(context, run->chain, tag);
	pthread_cond_broadcast(&run->changed);
	pthread_mutex_unlock(&run->lock);
}
