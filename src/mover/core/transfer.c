/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a transfer: made, advanced, refused, freed. */
#include "mover/core/transfer.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"
#include "base/wait.h"
#include "control/messages.h"
#include "mover/core/qemu_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* From the stop on they are events, too. */
static const char *const phase_names[] = {
	[TRANSFER_SETUP] = "setup",         [TRANSFER_MOVING] = "moving",
	[TRANSFER_STOPPED] = EVENT_STOPPED, [TRANSFER_POSTCOPY] = EVENT_POSTCOPY,
	[TRANSFER_LOADED] = EVENT_LOADED,   [TRANSFER_RELEASED] = EVENT_RELEASED,
	[TRANSFER_REFUSED] = EVENT_REFUSED,
};
_Static_assert(G_N_ELEMENTS(phase_names) == TRANSFER_PHASE_LAST, "every phase has a name");

const char *transfer_phase_name(enum transfer_phase phase)
{
	return phase_names[phase];
}

struct transfer *transfer_new(struct mover_setup *settings, const struct transfer_role *role,
			      GError **error)
{
	struct transfer *transfer = g_new0(struct transfer, 1);
	transfer->settings = settings;
	transfer->role = role;
	memcpy(transfer->page_key, settings->key, TAG_KEY_BYTES);
	transfer->listener = transfer->qemu = transfer->disk_listener = -1;
	pthread_mutex_init(&transfer->sorting, NULL);
	pthread_mutex_init(&transfer->lock, NULL);
	wait_cond_init(&transfer->changed);
	transfer->socket_path = mover_setup_socket(settings, error);
	transfer->made_directory = transfer->socket_path &&
				   (!role->look || role->look(transfer, error)) &&
				   qemu_socket_make_directory(settings, error);
	if (!transfer->made_directory) {
		transfer_free(transfer);
		return NULL;
	}
	if (settings->role == MOVER_SOURCE) {
		transfer->listener = qemu_socket_listen(transfer->socket_path, error);
		if (transfer->listener < 0) {
			transfer_free(transfer);
			return NULL;
		}
	}
	return transfer;
}

/* libvirt at the destination may have taken them again when it ended its side. */
static void end_owners(struct transfer *transfer)
{
	if (transfer->phase == TRANSFER_RELEASED || transfer->stream.postcopy)
		owners_hand_over(transfer->owners);
	else
		owners_give_back(transfer->owners);
	owners_free(transfer->owners);
}

void transfer_free(struct transfer *transfer)
{
	if (!transfer)
		return;
	if (transfer->link)
		link_close(transfer->link, NULL);
	pthread_mutex_lock(&transfer->lock);
	if (transfer->qemu >= 0)
		shutdown(transfer->qemu, SHUT_RDWR);
	pthread_mutex_unlock(&transfer->lock);
	if (transfer->listener >= 0)
		shutdown(transfer->listener, SHUT_RDWR);
	if (transfer->role->break_off)
		transfer->role->break_off(transfer);
	for (unsigned i = 0; i < transfer->thread_count; i++)
		pthread_join(transfer->threads[i], NULL);
	transfer->role->end(transfer);
	fd_clear(&transfer->qemu);
	fd_clear(&transfer->listener);
	fd_clear(&transfer->disk_listener);
	if (transfer->link)
		link_free(transfer->link);
	/* one that was there already is another mover's, such as an orphan's of the same move */
	if (transfer->made_directory)
		qemu_socket_remove(transfer->settings, transfer->socket_path,
				   transfer->disk_socket);
	g_free(transfer->socket_path);
	g_free(transfer->disk_socket);
	end_owners(transfer);
	disks_free(transfer->disks);
	g_free(transfer->refuse_code);
	g_free(transfer->refuse_reason);
	g_free(transfer->opaque_reason);
	explicit_bzero(transfer->page_key, sizeof(transfer->page_key));
	g_free(transfer->blocks);
	g_queue_clear_full(&transfer->events, (GDestroyNotify) json_object_unref);
	pthread_cond_destroy(&transfer->changed);
	pthread_mutex_destroy(&transfer->lock);
	pthread_mutex_destroy(&transfer->sorting);
	g_free(transfer);
}

bool transfer_spawn(struct transfer *transfer, void *(*body)(void *transfer), GError **error)
{
	g_atomic_int_inc(&transfer->running);
	int status =
		pthread_create(&transfer->threads[transfer->thread_count], NULL, body, transfer);
	if (status != 0) {
		g_atomic_int_add(&transfer->running, -1);
		return error_set(error, WATARI_ERROR_INTERNAL, NULL, _("cannot start a thread: %s"),
				 g_strerror(status));
	}
	transfer->thread_count++;
	return true;
}

void *transfer_thread_ends(struct transfer *transfer)
{
	if (g_atomic_int_dec_and_test(&transfer->running))
		transfer_post(transfer, EVENT_ENDED, NULL);
	return NULL;
}

bool transfer_start(struct transfer *transfer, GError **error)
{
	return transfer->role->start(transfer, error);
}

void transfer_wait_arrived(struct transfer *transfer, int64_t until_us)
{
	enum { LOOK_MS = 5, QUIET_LOOKS = 3 };
	struct link_stats stats;
	unsigned quiet = 0;
	while (quiet < QUIET_LOOKS && clock_now_us() < until_us &&
	       transfer_get_phase(transfer) != TRANSFER_REFUSED) {
		g_usleep(LOOK_MS * 1000);
		link_get_stats(transfer->link, &stats);
		quiet = stats.in_flight ? 0 : quiet + 1;
	}
}

enum transfer_phase transfer_get_phase(struct transfer *transfer)
{
	pthread_mutex_lock(&transfer->lock);
	enum transfer_phase phase = transfer->phase;
	pthread_mutex_unlock(&transfer->lock);
	return phase;
}

static void stamp(struct transfer *transfer, enum transfer_phase phase)
{
	int64_t now = clock_now_us();
	if (phase == TRANSFER_STOPPED) {
		transfer->stopped_us = transfer->stopped_us ? transfer->stopped_us : now;
		watchdog_note_stop(transfer->watchdog, transfer->stopped_us);
	} else if (phase == TRANSFER_LOADED) {
		transfer->loaded_us = now;
	} else if (phase == TRANSFER_RELEASED) {
		transfer->released_us = now;
	}
}

bool transfer_advance(struct transfer *transfer, enum transfer_phase phase)
{
	pthread_mutex_lock(&transfer->lock);
	bool allowed = transfer->phase != TRANSFER_REFUSED;
	bool news = allowed && transfer->phase < phase;
	if (news) {
		transfer->phase = phase;
		stamp(transfer, phase);
		pthread_cond_broadcast(&transfer->changed);
	}
	pthread_mutex_unlock(&transfer->lock);
	if (news)
		transfer_post(transfer,
			      phase == TRANSFER_MOVING ? EVENT_CONNECTED
						       : transfer_phase_name(phase),
			      NULL);
	return allowed;
}

static void refuse_transfer(struct transfer *transfer, const char *code, char *reason)
{
	pthread_mutex_lock(&transfer->lock);
	bool first = transfer->phase < TRANSFER_RELEASED;
	int64_t stopped_us = transfer->stopped_us;
	if (first) {
		transfer->phase = TRANSFER_REFUSED;
		transfer->refuse_code = g_strdup(code);
		transfer->refuse_reason = g_strdup(reason);
		if (!transfer->stream.postcopy)
			owners_give_back(
				transfer->owners); /* QEMU opens its images again at once */
		/* Shut, not close: other threads may be inside poll or read on it. */
		if (transfer->qemu >= 0)
			shutdown(transfer->qemu, SHUT_RDWR);
		pthread_cond_broadcast(&transfer->changed);
	}
	pthread_mutex_unlock(&transfer->lock);
	if (!first)
		return;
	if (transfer->listener >= 0)
		shutdown(transfer->listener, SHUT_RDWR);
	if (transfer->link)
		link_close(transfer->link, reason);
	if (transfer->role->break_off)
		transfer->role->break_off(transfer);
	watchdog_rest(transfer->watchdog); /* QEMU sees the end of all it had: the VM goes on */
	JsonObject *extra = json_object_new();
	json_object_set_string_member(extra, "reason", reason);
	json_object_set_string_member(extra, "code", code);
	if (stopped_us)
		json_object_set_int_member(extra, "stopped_ms",
					   (clock_now_us() - stopped_us) / 1000);
	transfer_post(transfer, EVENT_REFUSED, extra);
}

void transfer_refuse(struct transfer *transfer, const char *code, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_autofree char *reason = g_strdup_vprintf(format, args);
	va_end(args);
	refuse_transfer(transfer, code, reason);
}

void transfer_refuse_error(struct transfer *transfer, const char *code, const GError *error)
{
	g_autofree char *what = error ? error_what(error) : g_strdup(_("unknown reason"));
	refuse_transfer(transfer, code, what);
}

void transfer_finish_without_memory(struct transfer *transfer)
{
	g_atomic_int_set(&transfer->no_memory, 1);
	shutdown(transfer->listener, SHUT_RDWR);
}

bool transfer_adopt_qemu(struct transfer *transfer, int fd)
{
	pthread_mutex_lock(&transfer->lock);
	bool allowed = transfer->phase != TRANSFER_REFUSED;
	if (allowed)
		transfer->qemu = fd;
	pthread_mutex_unlock(&transfer->lock);
	if (!allowed)
		close(fd);
	return allowed && transfer_advance(transfer, TRANSFER_MOVING);
}

/* Events wait in the run's own queue, under its lock: the main loop is only woken for them. */
static gboolean deliver_event(void *data)
{
	struct transfer *transfer = data;
	pthread_mutex_lock(&transfer->lock);
	JsonObject *event = g_queue_pop_head(&transfer->events);
	pthread_mutex_unlock(&transfer->lock);
	if (event) {
		transfer->on_event(event, transfer->on_event_data);
		json_object_unref(event);
	}
	return G_SOURCE_REMOVE;
}

void transfer_post(struct transfer *transfer, const char *what, JsonObject *extra)
{
	JsonObject *event = extra ? extra : json_object_new();
	json_object_set_string_member(event, MESSAGE_TYPE, MESSAGE_EVENT);
	json_object_set_string_member(event, EVENT_WHAT, what);
	pthread_mutex_lock(&transfer->lock);
	g_queue_push_tail(&transfer->events, event);
	pthread_mutex_unlock(&transfer->lock);
	g_idle_add_full(G_PRIORITY_DEFAULT, deliver_event, transfer, NULL);
}

void transfer_count_frame(struct transfer *transfer, struct tag_context *context,
			  const uint8_t tag[TAG_BYTES], uint64_t bytes)
{
	pthread_mutex_lock(&transfer->lock);
	transfer->frames++;
	transfer->bytes += bytes;
	tag_fold(context, transfer->chain, tag);
	pthread_cond_broadcast(&transfer->changed);
	pthread_mutex_unlock(&transfer->lock);
}
