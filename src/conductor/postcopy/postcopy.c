/* SPDX-License-Identifier: Apache-2.0 */
/* The switch to post-copy: asked for, told of, watched. See postcopy.h. */
#include "conductor/core/movers.h"
#include "conductor/core/part.h"
#include "conductor/disks/disk_params.h"
#include "conductor/postcopy/postcopy_internal.h"
#include "conductor/core/stage.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/json.h"
#include "base/unit.h"
#include "control/messages.h"

#include <math.h>

enum {
	GONE_MS = 2000, /* a mover that is silent on both ways */
	TURN_MS = 200,
	PROOF_MS = 15000, /* longer than a mover waits for the other one's answer */
	STUCK_MS = 30000, /* libvirt's call should have ended long ago */
};

static gpointer ask_thread(gpointer data)
{
	struct postcopy *postcopy = data;
	if (virDomainMigrateStartPostCopy(postcopy->domain, 0) < 0)
		host_error(&postcopy->error, WATARI_ERROR_INTERNAL, NULL, _("libvirt"));
	g_atomic_int_set(&postcopy->done, 1);
	g_main_context_wakeup(NULL);
	return NULL;
}

/* What `watari resolve` needs to recover it. */
static void describe_resume(struct move *move, JsonObject *numbers)
{
	const struct move_request *request = move->request;
	json_object_set_int_member(numbers, "flags", move_migrate_flags(move));
	json_object_set_int_member(numbers, "connections", request->connections);
	json_object_set_int_member(numbers, "link", request->link);
	json_object_set_int_member(numbers, "connect_from", request->connect_from);
	json_object_set_int_member(numbers, "first_port", request->ports[0]);
	json_object_set_int_member(numbers, "last_port", request->ports[1]);
	json_set_text(numbers, "link_address", request->link_address);
}

/* Once it is done nobody can go back, and whoever must recover it needs to know how. */
static bool write_switch_down(struct move *move, GError **error)
{
	const struct move_progress *progress = &move->progress;
	g_autoptr(JsonObject) numbers = json_object_new();
	json_object_set_int_member(numbers, "iteration", progress->iteration);
	json_object_set_int_member(numbers, "remaining", (gint64) progress->remaining);
	json_object_set_int_member(numbers, "dirty_rate", llrint(progress->dirty_rate));
	json_object_set_int_member(numbers, "stream_rate", llrint(move->link.stream_rate));
	json_object_set_int_member(numbers, "wire_rate", llrint(move->link.wire_rate));
	describe_resume(move, numbers);
	g_autofree char *text = json_print_object(numbers);
	return stage_enter_recorded(move, STAGE_POSTCOPY_ASKED, text, error);
}

static void tell_switch(struct move *move)
{
	g_autofree char *remaining = unit_format_bytes(move->progress.remaining);
	move_note(move, false,
		  _("Switching to post-copy with %s of memory to follow. From here on neither "
		    "host alone has the whole VM, and it cannot be cancelled."),
		  remaining);
}

static bool may_begin(struct move *move, GError **error)
{
	if (!move->request->allow_postcopy || !move->limits.postcopy)
		return error_set(error, WATARI_ERROR_REFUSED,
				 _("Permit it with --allow-postcopy, from the start."),
				 _("post-copy is not permitted for this move"));
	if (!move->performing || move->stopped || move->cancelled || move->mover_reason)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("it is too late to switch to post-copy"));
	if (move->report->opaque)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("QEMU's stream is not understood, so post-copy could not be "
				   "watched over"));
	return true;
}

bool postcopy_begin(struct move *move, GError **error)
{
	if (postcopy_asked(move))
		return true;
	if (move->postcopy)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("libvirt has refused to switch to post-copy"));
	if (!may_begin(move, error))
		return false;
	struct postcopy *postcopy = move->postcopy = g_new0(struct postcopy, 1);
	postcopy->domain = move->domain;
	move->postcopy_state = POSTCOPY_ASKED;
	if (!write_switch_down(move, error)) {
		postcopy->answered = true;
		move->postcopy_state = POSTCOPY_REFUSED;
		return false;
	}
	tell_switch(move);
	move_say(move, _("switching to post-copy"));
	for (int side = 0; side < MOVE_SIDES; side++)
		movers_tell(move, side, dialogue_message(MESSAGE_POSTCOPY));
	postcopy->thread = g_thread_new("postcopy", ask_thread, postcopy);
	return true;
}

static void restore_link_timeout(struct move *move)
{
	for (int side = 0; side < MOVE_SIDES; side++) {
		JsonObject *limits = dialogue_message(MESSAGE_LIMITS);
		json_object_set_int_member(limits, "link_timeout_ms", move->limits.link_timeout_ms);
		movers_tell(move, side, limits);
	}
}

/* A switch that was not made: the move goes on as before. */
static void take_switch_answer(struct move *move)
{
	struct postcopy *postcopy = move->postcopy;
	g_thread_join(g_steal_pointer(&postcopy->thread));
	postcopy->answered = true;
	JsonObject *asked = dialogue_message(MESSAGE_POSTCOPY);
	json_object_set_boolean_member(asked, "asked", TRUE);
	movers_tell(move, MOVE_SOURCE, asked);
	if (!postcopy->error || postcopy_switched(move))
		return;
	move->postcopy_state = POSTCOPY_REFUSED;
	g_autofree char *what = error_what(postcopy->error);
	journal_note_event(move->journal, move->report->id, "postcopy-refused", what);
	move_note(move, true, _("The switch to post-copy was refused: %s"), what);
	restore_link_timeout(move);
}

/* A mover that says nothing may only have lost its way to us. But when the other one has no link either,
 * it is gone: then the other one lets go too, so that both QEMUs see the end and can be recovered. */
static void look_for_break(struct move *move)
{
	struct postcopy *postcopy = move->postcopy;
	bool silent = movers_failure(move) != NULL;
	bool other = movers_alive(move, MOVE_SOURCE) || movers_alive(move, MOVE_DESTINATION);
	bool dark = silent && other && move->lanes_up == 0;
	if (!dark)
		postcopy->dark_us = 0;
	else if (!postcopy->dark_us)
		postcopy->dark_us = clock_now_us();
	bool gone = dark && clock_now_us() - postcopy->dark_us > (int64_t) GONE_MS * 1000;
	if (postcopy->renewed_us && !move->mover_reason &&
	    clock_now_us() - postcopy->renewed_us > (int64_t) STUCK_MS * 1000)
		move->mover_reason =
			g_strdup(_("libvirt or a QEMU does not answer: a QEMU whose main thread "
				   "waits for a page of memory cannot be recovered by libvirt"));
	if (postcopy->broken || !(gone || move->mover_reason))
		return;
	postcopy->broken = true;
	postcopy->broken_us = clock_now_us();
	if (!move->mover_reason)
		move->mover_reason = error_what(movers_failure(move));
	postcopy_let_go(move, move->mover_reason);
}

static void tick(struct move *move, const struct job_stats_numbers *numbers)
{
	struct postcopy *postcopy = move->postcopy;
	if (postcopy && postcopy->thread && g_atomic_int_get(&postcopy->done))
		take_switch_answer(move);
	if (postcopy_holds(move))
		look_for_break(move);
}

bool postcopy_is_stuck(const struct move *move)
{
	const struct postcopy *postcopy = move->postcopy;
	return postcopy_holds(move) && postcopy->broken &&
	       clock_now_us() - postcopy->broken_us > (int64_t) STUCK_MS * 1000;
}

static bool is_postcopy_over(void *data)
{
	struct move *move = data;
	look_for_break(move);
	return !postcopy_holds(move) || move->postcopy->broken ||
	       !(movers_alive(move, MOVE_SOURCE) || movers_alive(move, MOVE_DESTINATION));
}

bool postcopy_wait(struct move *move)
{
	while (!move_wait(move, is_postcopy_over, move, TURN_MS, NULL))
		continue;
	return !postcopy_holds(move);
}

void postcopy_join(struct move *move)
{
	if (move->postcopy && move->postcopy->thread)
		take_switch_answer(move);
}

static void on_postcopy_connected(struct move *move, JsonObject *event)
{
	if (move->postcopy)
		move->postcopy->renewed_us = 0;
}

void postcopy_note_switched(struct move *move)
{
	if (!move->postcopy) /* by somebody else: virsh migrate-postcopy */
		move->postcopy = g_new0(struct postcopy, 1);
	move->postcopy_state = POSTCOPY_MADE;
	move->report->postcopy = true;
	move_say(move, _("in post-copy: the rest of the memory follows the VM"));
}

static bool is_compared(void *data)
{
	struct move *move = data;
	return move->released || move->mover_reason || movers_failure(move);
}

void postcopy_await_proof(struct move *move)
{
	if (postcopy_switched(move))
		move_wait(move, is_compared, move, PROOF_MS, NULL);
}

static bool is_waiting(struct move *move)
{
	return move->postcopy && move->postcopy->thread && !g_atomic_int_get(&move->postcopy->done);
}

void postcopy_free(struct move *move)
{
	postcopy_join(move);
	if (move->postcopy)
		g_clear_error(&move->postcopy->error);
	g_clear_pointer(&move->postcopy, g_free);
	move->postcopy_state = POSTCOPY_NONE;
}

/* ---- what movers say ---- */

/* Only who was permitted to can have switched. From here on nobody may end or continue either copy, so
 * that is on the disk: it is done, and whoever cleans up must know. */
static void on_postcopy(struct move *move, JsonObject *event)
{
	if (!move->request->allow_postcopy && !postcopy_asked(move))
		return;
	postcopy_note_switched(move);
	stage_note_done(move, STAGE_POSTCOPY);
}

/* The source's mover holds QEMU there until it was asked. What comes of it, or that it could not be asked,
 * shows later: the ladder asks again. */
static void on_pass_ending(struct move *move, JsonObject *event)
{
	if (move->request->strategy == MOVE_STRATEGY_POSTCOPY)
		postcopy_begin(move, NULL);
}

static const struct part_event events[] = {
	{ EVENT_CONNECTED, true, on_postcopy_connected },
	{ EVENT_PASS_ENDING, true, on_pass_ending },
	{ EVENT_POSTCOPY, true, on_postcopy },
	{ 0 },
};

const struct part postcopy_part = {
	.name = "postcopy",
	.events = events,
	.tick = tick,
	.is_waiting = is_waiting,
	.end = postcopy_join,
	.clear = postcopy_free,
};
