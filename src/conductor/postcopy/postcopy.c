/* SPDX-License-Identifier: Apache-2.0 */
/* The switch to post-copy: asked for, told of, watched. See postcopy.h. */
#include "conductor/core/movers.h"
#include "conductor/postcopy/postcopy_internal.h"
#include "conductor/core/stage.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/json.h"
#include "base/unit.h"

#include <math.h>

enum {
	GONE_MS = 2000, /* a mover that is silent on both ways */
	TURN_MS = 200,
	PROOF_MS = 15000, /* longer than a mover waits for the other one's answer */
	STUCK_MS = 30000, /* libvirt's call should have ended long ago */
};

static gpointer ask(gpointer data)
{
	struct postcopy *postcopy = data;
	if (virDomainMigrateStartPostCopy(postcopy->domain, 0) < 0)
		host_error(&postcopy->error, WATARI_ERROR_INTERNAL, NULL, _("libvirt"));
	g_atomic_int_set(&postcopy->done, 1);
	g_main_context_wakeup(NULL);
	return NULL;
}

/* Once it is done nobody can go back, and whoever must recover it needs to know how. */
static bool write_switch_down(struct journey *journey, GError **error)
{
	const struct journey_progress *progress = &journey->progress;
	g_autoptr(JsonObject) numbers = json_object_new();
	json_object_set_int_member(numbers, "iteration", progress->iteration);
	json_object_set_int_member(numbers, "remaining", (gint64) progress->remaining);
	json_object_set_int_member(numbers, "dirty_rate", llrint(progress->dirty_rate));
	json_object_set_int_member(numbers, "stream_rate", llrint(journey->link.stream_rate));
	json_object_set_int_member(numbers, "wire_rate", llrint(journey->link.wire_rate));
	postcopy_describe_resume(journey, numbers);
	g_autofree char *text = json_print_object(numbers);
	return stage_enter_recorded(journey, STAGE_POSTCOPY_ASKED, text, error);
}

static void tell(struct journey *journey)
{
	g_autofree char *remaining = unit_format_bytes(journey->progress.remaining);
	journey_note(journey, false,
		     _("Switching to post-copy with %s of memory to follow. From here on neither "
		       "host alone has the whole VM, and it cannot be cancelled."),
		     remaining);
}

static bool may_begin(struct journey *journey, GError **error)
{
	if (!journey->request->allow_postcopy || !journey->limits.postcopy)
		return error_set(error, WATARI_ERROR_REFUSED,
				 _("Permit it with --allow-postcopy, from the start."),
				 _("post-copy is not permitted for this move"));
	if (!journey->performing || journey->stopped || journey->cancelled || journey->mover_reason)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("it is too late to switch to post-copy"));
	if (journey->report->opaque)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("QEMU's stream is not understood, so post-copy could not be "
				   "watched over"));
	return true;
}

bool postcopy_begin(struct journey *journey, GError **error)
{
	if (postcopy_asked(journey))
		return true;
	if (journey->postcopy)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("libvirt has refused to switch to post-copy"));
	if (!may_begin(journey, error))
		return false;
	struct postcopy *postcopy = journey->postcopy = g_new0(struct postcopy, 1);
	postcopy->domain = journey->domain;
	if (!write_switch_down(journey, error)) {
		postcopy->answered = postcopy->refused = true;
		return false;
	}
	tell(journey);
	journey_say(journey, _("switching to post-copy"));
	for (int side = 0; side < JOURNEY_SIDES; side++)
		movers_tell(journey, side, dialogue_message("postcopy"));
	postcopy->thread = g_thread_new("postcopy", ask, postcopy);
	return true;
}

static void restore_link_timeout(struct journey *journey)
{
	for (int side = 0; side < JOURNEY_SIDES; side++) {
		JsonObject *limits = dialogue_message("limits");
		json_object_set_int_member(limits, "link_timeout_ms",
					   journey->limits.link_timeout_ms);
		movers_tell(journey, side, limits);
	}
}

/* A switch that was not made: the move goes on as before. */
static void take_answer(struct journey *journey)
{
	struct postcopy *postcopy = journey->postcopy;
	g_thread_join(g_steal_pointer(&postcopy->thread));
	postcopy->answered = true;
	JsonObject *asked = dialogue_message("postcopy");
	json_object_set_boolean_member(asked, "asked", TRUE);
	movers_tell(journey, JOURNEY_SOURCE, asked);
	if (!postcopy->error || postcopy->switched)
		return;
	postcopy->refused = true;
	g_autofree char *what = error_what(postcopy->error);
	journal_note_event(journey->journal, journey->report->id, "postcopy-refused", what);
	journey_note(journey, true, _("The switch to post-copy was refused: %s"), what);
	restore_link_timeout(journey);
}

/* A mover that says nothing may only have lost its way to us. But when the other one has no link either,
 * it is gone: then the other one lets go too, so that both QEMUs see the end and can be recovered. */
static void look_for_break(struct journey *journey)
{
	struct postcopy *postcopy = journey->postcopy;
	bool silent = movers_failure(journey) != NULL;
	bool other =
		movers_alive(journey, JOURNEY_SOURCE) || movers_alive(journey, JOURNEY_DESTINATION);
	bool dark = silent && other && journey->lanes_up == 0;
	if (!dark)
		postcopy->dark_us = 0;
	else if (!postcopy->dark_us)
		postcopy->dark_us = clock_now_us();
	bool gone = dark && clock_now_us() - postcopy->dark_us > (int64_t) GONE_MS * 1000;
	if (postcopy->renewed_us && !journey->mover_reason &&
	    clock_now_us() - postcopy->renewed_us > (int64_t) STUCK_MS * 1000)
		journey->mover_reason =
			g_strdup(_("libvirt or a QEMU does not answer: a QEMU whose main thread "
				   "waits for a page of memory cannot be recovered by libvirt"));
	if (postcopy->broken || !(gone || journey->mover_reason))
		return;
	postcopy->broken = true;
	postcopy->broken_us = clock_now_us();
	if (!journey->mover_reason)
		journey->mover_reason = error_what(movers_failure(journey));
	postcopy_let_go(journey, journey->mover_reason);
}

void postcopy_tick(struct journey *journey)
{
	struct postcopy *postcopy = journey->postcopy;
	if (postcopy && postcopy->thread && g_atomic_int_get(&postcopy->done))
		take_answer(journey);
	if (postcopy_holds(journey))
		look_for_break(journey);
}

bool postcopy_is_stuck(const struct journey *journey)
{
	const struct postcopy *postcopy = journey->postcopy;
	return postcopy_holds(journey) && postcopy->broken &&
	       clock_now_us() - postcopy->broken_us > (int64_t) STUCK_MS * 1000;
}

static bool is_over(void *data)
{
	struct journey *journey = data;
	look_for_break(journey);
	return !postcopy_holds(journey) || journey->postcopy->broken ||
	       !(movers_alive(journey, JOURNEY_SOURCE) ||
		 movers_alive(journey, JOURNEY_DESTINATION));
}

bool postcopy_wait(struct journey *journey)
{
	while (!journey_wait(journey, is_over, journey, TURN_MS, NULL))
		continue;
	return !postcopy_holds(journey);
}

void postcopy_join(struct journey *journey)
{
	if (journey->postcopy && journey->postcopy->thread)
		take_answer(journey);
}

void postcopy_note_connected(struct journey *journey)
{
	if (journey->postcopy)
		journey->postcopy->renewed_us = 0;
}

void postcopy_note_switched(struct journey *journey)
{
	if (!journey->postcopy) /* by somebody else: virsh migrate-postcopy */
		journey->postcopy = g_new0(struct postcopy, 1);
	journey->postcopy->switched = true;
	journey->report->postcopy = true;
	journey->postcopy->refused = false;
	journey_say(journey, _("in post-copy: the rest of the memory follows the VM"));
}

bool postcopy_asked(const struct journey *journey)
{
	return journey->postcopy && !journey->postcopy->refused;
}

bool postcopy_refused(const struct journey *journey)
{
	return journey->postcopy && journey->postcopy->refused;
}

static bool is_compared(void *data)
{
	struct journey *journey = data;
	return journey->released || journey->mover_reason || movers_failure(journey);
}

void postcopy_await_proof(struct journey *journey)
{
	if (postcopy_switched(journey))
		journey_wait(journey, is_compared, journey, PROOF_MS, NULL);
}

bool postcopy_switched(const struct journey *journey)
{
	return journey->postcopy && journey->postcopy->switched;
}

bool postcopy_holds(const struct journey *journey)
{
	return journey->postcopy && journey->postcopy->switched && !journey->released;
}

bool postcopy_is_waiting(const struct journey *journey)
{
	return journey->postcopy && journey->postcopy->thread &&
	       !g_atomic_int_get(&journey->postcopy->done);
}

void postcopy_free(struct journey *journey)
{
	postcopy_join(journey);
	if (journey->postcopy)
		g_clear_error(&journey->postcopy->error);
	g_clear_pointer(&journey->postcopy, g_free);
}
