/* SPDX-License-Identifier: Apache-2.0 */
/* The main thread of a mover: messages of the conductor, timers, the end. */
#include "mover/mover.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"
#include "base/version.h"
#include "control/messages.h"
#include "mover/chores/attach.h"
#include "mover/commands.h"
#include "mover/helper.h"
#include "mover/chores/image_lock.h"
#include "mover/core/postcopy_run.h"
#include "mover/core/rights.h"
#include "mover/chores/saved_state.h"
#include "mover/state_file.h"
#include "mover/stats.h"
#include "mover/chores/directory_proof.h"

#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FAREWELL_MS 30000 /* how long an orphan stays for a hand-over that is decided */
#define IDLE_MS 120000    /* a conductor that has not said “start” by then will not come back */

static const char *const features[] = {
#ifdef WATARI_FAULTS
	"faults",
#endif
	"verify", "link-unix", "announce", "disks", "seeds", "verify-disks", "offline", "measure",
};

static void send_hello(struct mover *mover)
{
	JsonObject *hello = json_object_new();
	JsonArray *words = json_array_new();
	for (size_t i = 0; i < G_N_ELEMENTS(features); i++)
		json_array_add_string_element(words, features[i]);
	json_object_set_string_member(hello, MESSAGE_TYPE, MESSAGE_HELLO);
	json_object_set_int_member(hello, "proto", MOVER_PROTOCOL);
	json_object_set_string_member(hello, "version", watari_version);
	json_object_set_int_member(hello, "pid", getpid());
	json_object_set_string_member(hello, "host", g_get_host_name());
	/* sshd's words: where the conductor reached this host, and where it came from. */
	if (g_getenv("SSH_CONNECTION"))
		json_object_set_string_member(hello, "ssh_connection", g_getenv("SSH_CONNECTION"));
	json_object_set_array_member(hello, "features", words);
	control_send(mover->control, hello);
}

static gboolean tell_stats(void *data)
{
	struct mover *mover = data;
	watchdog_beat(mover->watchdog);
	if (mover->transfer && mover->started)
		control_send_if_idle(mover->control, stats_describe(mover->transfer));
	return G_SOURCE_CONTINUE;
}

static gboolean give_up_move(void *data)
{
	struct mover *mover = data;
	g_main_loop_quit(mover->loop);
	return G_SOURCE_CONTINUE;
}

/* The conductor is gone. What is decided is carried out; everything else is broken off at once, so
 * that libvirt lets the source run on. */
static void conductor_lost(const char *reason, void *data)
{
	struct mover *mover = data;
	if (mover->dismissed)
		return;
	mover->orphan = true;
	enum transfer_phase phase =
		mover->transfer ? transfer_get_phase(mover->transfer) : TRANSFER_SETUP;
	bool goes_on = mover->transfer && mover->started && !mover->ended &&
		       transfer_in_postcopy(mover->transfer);
	if (goes_on && phase != TRANSFER_RELEASED) {
		/* To the last page: neither host has the whole VM. But nobody is there any more who would see
		 * that the other mover is dead, and as long as QEMU does not see it nobody can recover it. */
		link_set_timeout(mover->transfer->link, mover->settings->link_timeout_ms);
		return;
	}
	if (mover->transfer && phase != TRANSFER_RELEASED)
		transfer_refuse(mover->transfer, "protocol", _("the conductor is gone (%s)"),
				reason ? reason : _("its connection closed"));
	if (!mover->transfer || !mover->started || mover->ended)
		g_main_loop_quit(mover->loop);
	else
		g_timeout_add(phase == TRANSFER_RELEASED ? FAREWELL_MS : 1000, give_up_move, mover);
}

/* Before the start nothing is said on the control channel for long times, so a host that lost its
 * network would not notice that the conductor is gone. One that asks a person says “limits” meanwhile. */
static gboolean waited_enough(void *data)
{
	struct mover *mover = data;
	bool heard = mover->heard;
	mover->heard = false;
	if (heard && !mover->started)
		return G_SOURCE_CONTINUE;
	if (!mover->started)
		conductor_lost(_("no start within two minutes"), mover);
	return G_SOURCE_REMOVE;
}

static gboolean got_signal(void *data)
{
	conductor_lost(_("a signal ended the mover"), data);
	return G_SOURCE_CONTINUE;
}

/* The time since the stop is watched here, not in a pipeline: a pipeline may be blocked. */
static gboolean stop_limit_over(void *data)
{
	struct mover *mover = data;
	mover->limit_timer = 0;
	transfer_refuse(mover->transfer, "limit",
			_("the VM had been stopped for %d ms, the limit; it resumes at the source"),
			mover->transfer->settings->stop_limit_ms);
	return G_SOURCE_REMOVE;
}

void mover_watch_stop(struct mover *mover)
{
	struct transfer *transfer = mover->transfer;
	int limit = transfer->settings->stop_limit_ms;
	if (mover->limit_timer)
		g_source_remove(mover->limit_timer);
	mover->limit_timer = 0;
	pthread_mutex_lock(&transfer->lock);
	int64_t stopped_us = transfer->released_us ? 0 : transfer->stopped_us;
	if (transfer->stream.switching || transfer->settings->recover)
		stopped_us = 0; /* there is no way back: the limit is no longer one */
	pthread_mutex_unlock(&transfer->lock);
	if (limit == 0 || stopped_us == 0 || transfer->settings->role != MOVER_SOURCE)
		return;
	int64_t left_ms = limit - (clock_now_us() - stopped_us) / 1000;
	mover->limit_timer = g_timeout_add((guint) MAX(left_ms, 0), stop_limit_over, mover);
}

static void send_done(struct mover *mover)
{
	struct transfer *transfer = mover->transfer;
	JsonObject *done = stats_describe(transfer);
	bool refused = transfer_get_phase(transfer) == TRANSFER_REFUSED;
	json_object_set_string_member(done, MESSAGE_TYPE, MESSAGE_DONE);
	json_object_set_string_member(done, "outcome", refused ? "aborted" : "handed-over");
	if (refused) {
		json_object_set_string_member(done, "reason", transfer->refuse_reason);
		json_object_set_string_member(done, "code", transfer->refuse_code);
	}
	control_send(mover->control, done);
	mover->ended = true;
	if (mover->orphan)
		g_main_loop_quit(mover->loop);
}

void mover_got_event(JsonObject *event, void *data)
{
	struct mover *mover = data;
	const char *what = json_get_string(event, EVENT_WHAT, "");
	if (g_str_equal(what, EVENT_ENDED)) {
		send_done(mover);
		return;
	}
	control_send(mover->control, json_object_ref(event));
	mover_watch_stop(mover);
	state_file_write(mover->transfer->settings, transfer_get_phase(mover->transfer), NULL);
}

static void mover_clear(struct mover *mover)
{
	struct mover_setup *settings = mover->settings;
	/* An orphan past the gate leaves its word for `watari resolve`. */
	bool keep = !mover->transfer ||
		    (mover->orphan && transfer_get_phase(mover->transfer) == TRANSFER_RELEASED);
	control_flush(mover->control, 1000);
	directory_proof_clear();
	g_clear_pointer(&mover->measure, task_free);
	g_clear_pointer(&mover->fingerprint, task_free);
	g_clear_pointer(&mover->digests, task_free);
	g_clear_pointer(&mover->unread, g_ptr_array_unref);
	g_clear_pointer(&mover->print_path, g_free);
	commands_drop_link(mover, mover->orphan ? "the conductor is gone" : NULL);
	transfer_free(mover->transfer);
	if (settings && !keep)
		state_file_remove(settings);
	inhibit_end(mover->inhibit);
	watchdog_free(mover->watchdog);
	image_lock_free(mover->hold);
	mover_setup_free(settings);
	control_free(mover->control);
	g_main_loop_unref(mover->loop);
}

static int serve(char *title)
{
	struct mover mover = { .watchdog = watchdog_new(title) };
	rights_drop();
	mover.loop = g_main_loop_new(NULL, FALSE);
	mover.control =
		control_new(STDIN_FILENO, STDOUT_FILENO, commands_got, conductor_lost, &mover);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	g_unix_signal_add(SIGTERM, got_signal, &mover);
	g_timeout_add(STATS_INTERVAL_MS, tell_stats, &mover);
	g_timeout_add(IDLE_MS, waited_enough, &mover);
	send_hello(&mover);
	g_main_loop_run(mover.loop);
	mover_clear(&mover);
	return mover.orphan ? WATARI_EXIT_FAILED : WATARI_EXIT_OK;
}

int mover_main(int argc, char **argv)
{
	watari_error_quark(); /* before there are threads that would register it side by side */
	if (argc == 1)
		return serve(argv[0]);
	if (argc == 3 && g_str_equal(argv[1], "--attach"))
		return attach_run(argv[2]);
	if (argc <= 3 && g_str_equal(argv[1], "--sweep"))
		return state_file_sweep(argc == 3 ? argv[2] : NULL, STATE_END);
	if (argc == 3 && g_str_equal(argv[1], "--kill"))
		return state_file_sweep(argv[2], STATE_KILL);
	if (argc == 3 && g_str_equal(argv[1], "--living"))
		return state_file_print_living(argv[2]);
	if (argc >= 5 && g_str_equal(argv[1], "--helper"))
		return helper_run(argv[2], argv[3], argv + 4);
	if (argc == 5 && g_str_equal(argv[1], "--saved"))
		return saved_state_run(argv[2], argv[3], argv[4]);
	fprintf(stderr, "%s\n",
		_("usage: watari mover [--attach PATH | --sweep [ID] | --kill ID | --living UUID | "
		  "--saved ACTION PATH UUID | --helper USER TIE PROGRAM] "
		  "(started by watari migrate)"));
	return WATARI_EXIT_USAGE;
}
