/* SPDX-License-Identifier: Apache-2.0 */
/* Carries out what the conductor asks, one function a message. */
#include "mover/commands.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"
#include "control/messages.h"
#include "content/known.h"
#include "mover/chores/announce.h"
#include "mover/core/conductor_check.h"
#include "mover/compare/digests.h"
#include "mover/disks/disk_source.h"
#include "mover/core/fault.h"
#include "mover/compare/fingerprint.h"
#include "mover/helper.h"
#include "mover/chores/image_lock.h"
#include "mover/core/qemu_socket.h"
#include "mover/measure/measure.h"
#include "mover/measure/probe.h"
#include "mover/core/rights.h"
#include "mover/core/postcopy_run.h"
#include "mover/state_file.h"
#include "mover/chores/directory_proof.h"

#include <string.h>

#define ADDRESSES_MAX 16
#define UNREAD_MAX 64              /* files */
#define DIGESTS_BYTES_S (64 << 20) /* slow enough to be no burden to guests that read */
#define LINK_WAIT_MS 10000
#define TRIAL_WAIT_MS 60000    /* once the other one was reached: its bytes may come slowly */
#define SILENCE_LEAST_MS 30000 /* of the main thread, before this mover counts as one that hangs */

static JsonObject *message_new(const char *type)
{
	JsonObject *message = json_object_new();
	json_object_set_string_member(message, "t", type);
	return message;
}

static void send_error(struct mover *mover, const char *code, const GError *error)
{
	JsonObject *message = message_new(MESSAGE_ERROR);
	g_autofree char *what = error_what(error);
	g_autofree char *next = error_next(error);
	json_object_set_string_member(message, "code", code);
	json_object_set_string_member(message, "reason", what);
	if (next)
		json_object_set_string_member(message, "next", next);
	control_send(mover->control, message);
}

static bool out_of_turn(GError **error)
{
	return error_set(error, WATARI_ERROR_INTERNAL, NULL, _("a control message out of turn"));
}

/* The message is freed, and what is freed lies about. */
static void wipe_key(JsonObject *setup)
{
	const char *key = json_get_string(setup, "key", NULL);
	if (key)
		explicit_bzero((char *) (uintptr_t) key, strlen(key));
}

static bool do_setup(struct mover *mover, JsonObject *message, GError **error)
{
	if (mover->transfer)
		return out_of_turn(error);
	mover->settings = mover_setup_parse(message, error);
	wipe_key(message);
	if (!mover->settings)
		return false;
	mover->transfer = transfer_new(
		mover->settings,
		mover->settings->role == MOVER_SOURCE ? &source_role : &destination_role, error);
	if (!mover->transfer)
		return false;
	helper_for_readers(mover->settings->socket_user);
	/* The ceiling is the source's to keep, and there is none of a post-copy. */
	if (mover->settings->role != MOVER_SOURCE || mover->settings->recover)
		g_clear_pointer(&mover->watchdog, watchdog_free);
	mover->transfer->watchdog = mover->watchdog;
	mover->transfer->on_event = mover_got_event;
	mover->transfer->on_event_data = mover;
	if (!state_file_write(mover->settings, TRANSFER_SETUP, error))
		return false;
	JsonObject *ready = message_new(MESSAGE_READY);
	json_object_set_string_member(ready, "socket", mover->transfer->socket_path);
	control_send(mover->control, ready);
	return true;
}

void commands_drop_link(struct mover *mover, const char *reason)
{
	struct link *link = mover->transfer ? mover->transfer->link : NULL;
	mover->link_attempt++;
	mover->linked = false;
	if (link)
		link_close(link, reason);
	g_clear_pointer(&mover->probe, task_free);
	if (mover->waiter)
		g_thread_join(g_steal_pointer(&mover->waiter));
	if (link && !mover->started) {
		mover->transfer->link = NULL;
		link_free(link);
	}
}

/* A fresh link: an earlier attempt (TCP behind a firewall) is thrown away. */
static bool make_link(struct mover *mover, GError **error)
{
	const struct mover_setup *s = mover->settings;
	struct link_config config = {
		.source = s->role == MOVER_SOURCE,
		.connections = s->connections,
		.window_max = s->window_max ? s->window_max
					    : known_sizes_for(s->memory_limit).link_window,
		.bandwidth = s->bandwidth,
		.timeout_ms = s->link_timeout_ms
	};
	if (!mover->transfer || mover->started)
		return out_of_turn(error);
	memcpy(config.key, s->key, sizeof(config.key));
	memcpy(config.id, s->id, sizeof(config.id));
	commands_drop_link(mover, "another attempt");
	mover->transfer->link = link_new(&config, error);
	return mover->transfer->link != NULL;
}

/* Waiting for the lanes must not block the main thread. */
struct attempt {
	struct mover *mover;
	struct link *link;
	unsigned number;
	GError *error;
};

static gboolean attempt_ended(void *data)
{
	g_autofree struct attempt *attempt = data;
	struct mover *mover = attempt->mover;
	if (attempt->number != mover->link_attempt) {
		g_debug("an earlier attempt to link has ended");
	} else if (attempt->error) {
		send_error(mover, "link", attempt->error);
	} else {
		struct link_stats stats;
		link_get_stats(attempt->link, &stats);
		JsonObject *linked = message_new(MESSAGE_LINKED);
		json_object_set_int_member(linked, "connections", stats.up);
		json_object_set_int_member(linked, "round_trip_us", stats.round_trip_us);
		mover->linked = true;
		control_send(mover->control, linked);
	}
	g_clear_error(&attempt->error);
	return G_SOURCE_REMOVE;
}

/* The other mover is there; what is still missing is only a matter of time. */
static gboolean attempt_reached(void *data)
{
	struct attempt *attempt = data;
	if (attempt->number == attempt->mover->link_attempt)
		control_send(attempt->mover->control, message_new(MESSAGE_REACHED));
	return G_SOURCE_REMOVE;
}

static void *wait_for_lanes(void *data)
{
	struct attempt *attempt = data;
	bool reached = link_wait_reached(attempt->link, LINK_WAIT_MS);
	if (reached)
		g_idle_add(attempt_reached, attempt);
	link_wait_up(attempt->link, reached ? TRIAL_WAIT_MS : 0, &attempt->error);
	g_idle_add(attempt_ended, attempt);
	return NULL;
}

static bool start_link(struct mover *mover, GError **error)
{
	if (!link_start(mover->transfer->link, error))
		return false;
	struct attempt *attempt = g_new0(struct attempt, 1);
	attempt->mover = mover;
	attempt->link = mover->transfer->link;
	attempt->number = mover->link_attempt;
	mover->waiter = g_thread_new("lanes", wait_for_lanes, attempt);
	return true;
}

static bool listen_tcp(struct mover *mover, JsonObject *message, JsonObject *answer, GError **error)
{
	JsonArray *ports = json_get_array(message, "ports");
	uint16_t range[2] = { 0, 0 }, port = 0;
	if (ports && json_array_get_length(ports) == 2)
		for (guint i = 0; i < 2; i++)
			range[i] = (uint16_t) json_array_get_int_element(ports, i);
	const char *address = json_get_string(message, "address", NULL);
	struct link *link = mover->transfer->link;
	/* An address that is translated on the way is none of this host's. */
	bool agreed = address && link_listen_tcp(link, address, range[0], range[1], &port, NULL);
	if (!agreed && !link_listen_tcp(link, NULL, range[0], range[1], &port, error))
		return false;
	json_object_set_int_member(answer, "port", port);
	return true;
}

static bool do_listen(struct mover *mover, JsonObject *message, GError **error)
{
	if (!make_link(mover, error))
		return false;
	g_autoptr(JsonObject) answer = message_new(MESSAGE_LISTENING);
	if (json_get_bool(message, "unix", false)) {
		g_autofree char *path = g_build_filename(mover->settings->socket_dir, "link", NULL);
		if (!link_listen_unix(mover->transfer->link, path, error))
			return false;
		json_object_set_string_member(answer, "path", path);
	} else if (!listen_tcp(mover, message, answer, error)) {
		return false;
	}
	control_send(mover->control, g_steal_pointer(&answer));
	return start_link(mover, error);
}

static bool do_connect(struct mover *mover, JsonObject *message, GError **error)
{
	const char *addresses[ADDRESSES_MAX + 1] = { NULL };
	JsonArray *list = json_get_array(message, "addresses");
	int64_t port = json_get_int(message, "port", 0);
	for (guint i = 0; list && i < json_array_get_length(list) && i < ADDRESSES_MAX; i++) {
		JsonNode *node = json_array_get_element(list, i);
		addresses[i] = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_string(node) : NULL;
	}
	if (!addresses[0] || port < 1 || port > 65535)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("connect: bad or missing addresses or port"));
	return make_link(mover, error) &&
	       link_connect_tcp(mover->transfer->link, addresses, (uint16_t) port, error) &&
	       start_link(mover, error);
}

static struct disks *tell_of_disks(struct transfer *transfer)
{
	if (!transfer->disks)
		transfer->disks = g_new0(struct disks, 1);
	return transfer->disks;
}

static bool do_seeds(struct mover *mover, JsonObject *message, GError **error)
{
	struct transfer *transfer = mover->transfer;
	if (!transfer || mover->started || (transfer->disks && transfer->disks->seed_count))
		return out_of_turn(error);
	if (!disks_parse_seeds(tell_of_disks(transfer), message, error))
		return false;
	control_send(mover->control, message_new(MESSAGE_SEEDS_READY));
	return true;
}

/* The disks' socket lies beside the memory's. */
static bool do_disks(struct mover *mover, JsonObject *message, GError **error)
{
	struct transfer *transfer = mover->transfer;
	if (!transfer || mover->started || transfer->disk_socket)
		return out_of_turn(error);
	g_autofree char *path = mover_setup_disk_socket(mover->settings, error);
	if (!path)
		return false;
	if (!disks_parse(tell_of_disks(transfer), message, error))
		return false;
	transfer->disk_socket = g_steal_pointer(&path);
	if (mover->settings->role == MOVER_SOURCE) {
		transfer->disk_listener = qemu_socket_listen(transfer->disk_socket, error);
		if (transfer->disk_listener < 0 ||
		    !qemu_socket_admit_qemu(mover->settings, transfer->disk_socket, error))
			return false;
	}
	JsonObject *ready = message_new(MESSAGE_DISKS_READY);
	json_object_set_string_member(ready, "socket", transfer->disk_socket);
	control_send(mover->control, ready);
	return true;
}

/* The conductor knows of the stop before the stream shows it: QEMU stops the VM before it ends the
 * mirrors of disks, and only then sends the last of the memory. */
static bool do_stopped(struct mover *mover, JsonObject *message, GError **error)
{
	struct transfer *transfer = mover->transfer;
	if (!transfer || !mover->started)
		return out_of_turn(error);
	watchdog_note_stop(transfer->watchdog,
			   clock_now_us()); /* before the lock, which may hang */
	pthread_mutex_lock(&transfer->lock);
	if (!transfer->stopped_us)
		transfer->stopped_us = clock_now_us();
	pthread_mutex_unlock(&transfer->lock);
	mover_watch_stop(mover);
	return true;
}

static bool do_awake(struct mover *mover, JsonObject *message, GError **error)
{
	if (!mover->transfer)
		return out_of_turn(error);
	conductor_check_answered(mover->transfer, json_get_int(message, "n", 0));
	return true;
}

static void send_answer(JsonObject *answer, void *data)
{
	struct mover *mover = data;
	control_send(mover->control, answer);
}

static bool do_start(struct mover *mover, JsonObject *message, GError **error)
{
	if (!mover->linked || mover->started || (mover->probe && !task_is_done(mover->probe)))
		return out_of_turn(error);
	mover->started = true;
	mover->inhibit = inhibit_begin(_("a virtual machine is moving"));
	watchdog_set_limit(mover->watchdog, mover->settings->stop_limit_ms);
	if (!transfer_start(mover->transfer, error))
		return false;
	if (mover->unread)
		mover->digests = digests_start(mover->unread, DIGESTS_BYTES_S, send_answer, mover);
	/* a busy host keeps a thread from its turn for seconds */
	watchdog_begin(mover->watchdog, MAX(mover->settings->link_timeout_ms, SILENCE_LEAST_MS));
	/* only images that are no raw files are read through a program */
	if (!rights_confine(mover->settings->role == MOVER_DESTINATION && mover->transfer->disks))
		g_debug("no filter of system calls");
	return true;
}

/* The disks are all there is, and they are done. */
static bool do_finish(struct mover *mover, JsonObject *message, GError **error)
{
	struct transfer *transfer = mover->transfer;
	if (!transfer || !mover->started || mover->settings->role != MOVER_SOURCE)
		return out_of_turn(error);
	transfer_finish_without_memory(transfer);
	return true;
}

static bool do_limits(struct mover *mover, JsonObject *message, GError **error)
{
	struct transfer *transfer = mover->transfer;
	if (!transfer || !transfer->link)
		return out_of_turn(error);
	int64_t bandwidth = json_get_int(message, "bandwidth", -1);
	int64_t stop = json_get_int(message, "stop_limit_ms", -1);
	int64_t dark = json_get_int(message, "link_timeout_ms", -1);
	int64_t disk_rate = json_get_int(message, "disk_rate", -1);
	if (disk_rate >= 0 && transfer->disk_source)
		disk_source_set_rate(transfer->disk_source, (uint64_t) disk_rate);
	if (bandwidth >= 0)
		link_set_bandwidth(transfer->link, (uint64_t) bandwidth);
	if (dark > 0 && dark <= INT32_MAX)
		link_set_timeout(transfer->link, (int) dark);
	if (stop >= 0 && stop <= INT32_MAX) {
		g_atomic_int_set(&transfer->settings->stop_limit_ms, (int) stop);
		watchdog_set_limit(mover->watchdog, (int) stop);
	}
	mover_watch_stop(mover);
	return true;
}

/* The conductor is about to ask QEMU for the switch to post-copy, or has. */
static bool do_postcopy(struct mover *mover, JsonObject *message, GError **error)
{
	if (!mover->transfer || !mover->started)
		return out_of_turn(error);
	if (json_get_bool(message, "asked", false))
		g_atomic_int_set(&mover->transfer->switch_asked, 1);
	else
		transfer_expect_postcopy(mover->transfer);
	return true;
}

/* In post-copy it would bring nobody back. Only so that QEMU's own recovery can begin does it make
 * sense to let go. */
static bool do_abort(struct mover *mover, JsonObject *message, GError **error)
{
	bool ignored = mover->transfer && transfer_in_postcopy(mover->transfer) &&
		       !json_get_bool(message, "recover", false);
	if (mover->transfer && !ignored)
		transfer_refuse(mover->transfer, "abort", "%s",
				json_get_string(message, "reason", _("asked to stop")));
	return true;
}

static bool do_file_token(struct mover *mover, JsonObject *message, GError **error)
{
	control_send(mover->control, directory_proof_do(message));
	return true;
}

static bool do_hold(struct mover *mover, JsonObject *message, GError **error)
{
	control_send(mover->control, image_lock_do(&mover->hold, message));
	return true;
}

static bool do_probe(struct mover *mover, JsonObject *message, GError **error)
{
	if (!mover->linked || mover->started || (mover->probe && !task_is_done(mover->probe)))
		return out_of_turn(error);
	g_clear_pointer(&mover->probe, task_free);
	mover->probe = probe_start(mover->transfer, message, send_answer, mover, error);
	return mover->probe != NULL;
}

static bool do_measure(struct mover *mover, JsonObject *message, GError **error)
{
	if (!mover->settings || (mover->measure && !task_is_done(mover->measure)))
		return out_of_turn(error);
	g_clear_pointer(&mover->measure, task_free);
	mover->measure = measure_start(mover->settings, message, send_answer, mover, error);
	return mover->measure != NULL;
}

/* What was too large for now is read while memory is copied. */
static void note_unread(struct mover *mover, JsonObject *answer)
{
	if (json_object_has_member(answer, "digest") || json_object_has_member(answer, "kept") ||
	    json_object_has_member(answer, "reason"))
		return;
	if (!mover->unread)
		mover->unread = g_ptr_array_new_with_free_func(g_free);
	if (mover->unread->len < UNREAD_MAX)
		g_ptr_array_add(mover->unread, g_strdup(mover->print_path));
}

static void send_whole(JsonObject *answer, void *data)
{
	note_unread(data, answer);
	send_answer(answer, data);
}

/* Needs no setup: a move through a directory has movers without a link. */
static bool do_fingerprint(struct mover *mover, JsonObject *message, GError **error)
{
	if (mover->fingerprint && !task_is_done(mover->fingerprint))
		return out_of_turn(error);
	g_clear_pointer(&mover->fingerprint, task_free);
	bool whole = g_str_equal(json_get_string(message, "what", ""), "whole");
	g_free(mover->print_path);
	mover->print_path = g_strdup(json_get_string(message, "path", ""));
	mover->fingerprint = fingerprint_start(message, fault_slow_read(mover->settings),
					       whole ? send_whole : send_answer, mover, error);
	return mover->fingerprint != NULL;
}

static bool do_dwell(struct mover *mover, JsonObject *message, GError **error)
{
	if (!mover->settings || !mover->settings->rehearse)
		return out_of_turn(error);
	bool disks = json_get_bool(message, "disks", false);
	g_atomic_int_set(
		disks ? &mover->settings->rehearse_disks_now : &mover->settings->rehearse_now, 1);
	return true;
}

/* What time it is here, for whoever asks at both hosts. */
static bool do_clock(struct mover *mover, JsonObject *message, GError **error)
{
	JsonObject *answer = message_new(MESSAGE_CLOCK);
	json_object_set_int_member(answer, "us", g_get_real_time());
	control_send(mover->control, answer);
	return true;
}

static bool do_announce(struct mover *mover, JsonObject *message, GError **error)
{
	control_send(mover->control, announce_do(message));
	return true;
}

static bool do_bye(struct mover *mover, JsonObject *message, GError **error)
{
	/* as an orphan, to the last page */
	if (mover->transfer && mover->started && !mover->ended &&
	    transfer_in_postcopy(mover->transfer)) {
		mover->orphan = true;
		return true;
	}
	mover->dismissed = true;
	g_main_loop_quit(mover->loop);
	return true;
}

static const struct {
	const char *type;
	bool (*act)(struct mover *mover, JsonObject *message, GError **error);
	const char *code; /* of its errors */
} commands[] = {
	{ MESSAGE_SETUP, do_setup, "local" },
	{ MESSAGE_LISTEN, do_listen, "link" },
	{ MESSAGE_CONNECT, do_connect, "link" },
	{ MESSAGE_START, do_start, "internal" },
	{ MESSAGE_DISKS, do_disks, "local" },
	{ MESSAGE_SEEDS, do_seeds, "local" },
	{ MESSAGE_STOPPED, do_stopped, "protocol" },
	{ MESSAGE_LIMITS, do_limits, "protocol" },
	{ MESSAGE_FINISH, do_finish, "protocol" },
	{ MESSAGE_HOLD, do_hold, "local" },
	{ MESSAGE_PROBE, do_probe, "protocol" },
	{ MESSAGE_MEASURE, do_measure, "protocol" },
	{ MESSAGE_CLOCK, do_clock, "protocol" },
	{ MESSAGE_FINGERPRINT, do_fingerprint, "protocol" },
	{ MESSAGE_DWELL, do_dwell, "protocol" },
	{ MESSAGE_ABORT, do_abort, "protocol" },
	{ MESSAGE_AWAKE, do_awake, "protocol" },
	{ MESSAGE_ANNOUNCE, do_announce, "local" },
	{ MESSAGE_FILE_TOKEN, do_file_token, "local" },
	{ MESSAGE_POSTCOPY, do_postcopy, "protocol" },
	{ MESSAGE_BYE, do_bye, "protocol" },
};

void commands_got(JsonObject *message, void *data)
{
	struct mover *mover = data;
	const char *type = json_get_string(message, MESSAGE_TYPE, "");
	mover->heard = true;
	for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
		g_autoptr(GError) error = NULL;
		if (!g_str_equal(commands[i].type, type))
			continue;
		if (!commands[i].act(mover, message, &error))
			send_error(mover, commands[i].code, error);
		return;
	}
	g_autoptr(GError) unknown = NULL;
	error_set(&unknown, WATARI_ERROR_INTERNAL, NULL, _("unknown control message “%.64s”"),
		  type);
	send_error(mover, "protocol", unknown);
	g_main_loop_quit(mover->loop);
}
