/* SPDX-License-Identifier: Apache-2.0 */
/* Post-copy that broke in the middle: both QEMUs are told to let go of their sockets, new movers are
 * started in place of the old pair, and then libvirt may be asked for QEMU's own recovery. */
#include "conductor/core/movers.h"
#include "conductor/postcopy/postcopy_internal.h"
#include "conductor/core/ssh_link.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/json.h"
#include "base/random.h"

#include <string.h>

enum {
	TRIES = 6,
	PAUSE_FIRST_MS = 500, /* before the second try, doubled with each */
	PAUSE_MOST_MS = 30000,
	LET_GO_MS = 5000,
	STATES_MS = 20000, /* libvirt is given so long to see that both are paused */
	STATES_STEP_MS = 300,
};

static const char *next_step(void)
{
	return _("Never end or restart either copy: each has a part of the memory. When hosts and "
		 "link are "
		 "well again, run “watari resolve VM”.");
}

void postcopy_give_up(struct journey *journey, const char *before, GError **error)
{
	error_set(error, WATARI_ERROR_ATTENTION, next_step(),
		  _("post-copy of %s is broken in the middle: the destination has a part of its "
		    "memory "
		    "and the source has the rest%s%s%s"),
		  journey->report->vm_name, before ? " (" : "", before ? before : "",
		  before ? ")" : "");
}

/* ---- the old movers ---- */

void postcopy_let_go(struct journey *journey, const char *reason)
{
	for (int side = 0; side < JOURNEY_SIDES; side++) {
		JsonObject *message = dialogue_message("abort");
		json_object_set_boolean_member(message, "recover", TRUE);
		json_object_set_string_member(message, "reason", reason);
		movers_tell(journey, side, message);
	}
}

static bool both_are_done(void *data)
{
	struct journey *journey = data;
	for (int side = 0; side < JOURNEY_SIDES; side++) {
		bool alive = movers_alive(journey, side);
		g_autoptr(JsonObject) done =
			alive ? dialogue_take(journey->movers[side], "done") : NULL;
		journey->postcopy->done_sides |= (alive && !done ? 0u : 1u) << side;
	}
	return journey->postcopy->done_sides == 3;
}

static void drop_movers(struct journey *journey)
{
	journey->postcopy->done_sides = 0;
	postcopy_let_go(journey, "the post-copy is to be recovered");
	journey_wait(journey, both_are_done, journey, LET_GO_MS, NULL);
	movers_end(journey);
	g_clear_pointer(&journey->splice, splice_free);
	g_clear_pointer(&journey->mover_reason, g_free);
	movers_sweep(journey);
}

/* ---- what libvirt sees ---- */

struct asking {
	struct journey *journey;
	struct host_vm vms[JOURNEY_SIDES];
	GError *error;
	bool good;
};

static void call_ask(void *data)
{
	struct asking *asking = data;
	struct journey *journey = asking->journey;
	asking->good = true;
	for (int side = 0; side < JOURNEY_SIDES && asking->good; side++)
		asking->good = host_vm_ask(journey->hosts[side], journey->report->vm_uuid,
					   &asking->vms[side], &asking->error);
}

static bool has_failed(const struct host_vm *vm)
{
	return (vm->state == HOST_VM_PAUSED || vm->state == HOST_VM_INCOMING)
		       ? vm->reason == VIR_DOMAIN_PAUSED_POSTCOPY_FAILED
		       : vm->state == HOST_VM_RUNNING &&
				 vm->reason == VIR_DOMAIN_RUNNING_POSTCOPY_FAILED;
}

/* libvirt refuses to recover before it has seen both of them fail. */
static bool wait_failed(struct journey *journey, GError **error)
{
	struct asking asking = { .journey = journey };
	int64_t until_ms = clock_now_ms() + STATES_MS;
	do {
		g_clear_error(&asking.error);
		journey_call(journey, call_ask, &asking);
		if (!asking.good) {
			g_propagate_error(error, asking.error);
			return false;
		}
		if (has_failed(&asking.vms[JOURNEY_SOURCE]) &&
		    has_failed(&asking.vms[JOURNEY_DESTINATION]))
			return true;
		journey_pause(journey, STATES_STEP_MS);
	} while (clock_now_ms() < until_ms);
	return error_set(
		error, WATARI_ERROR_INTERNAL, NULL,
		_("libvirt does not say of both copies that post-copy failed: %s is %s (%s), "
		  "%s is %s (%s)"),
		journey->hosts[JOURNEY_SOURCE]->name,
		host_vm_state_name(asking.vms[JOURNEY_SOURCE].state),
		host_vm_reason_name(&asking.vms[JOURNEY_SOURCE]),
		journey->hosts[JOURNEY_DESTINATION]->name,
		host_vm_state_name(asking.vms[JOURNEY_DESTINATION].state),
		host_vm_reason_name(&asking.vms[JOURNEY_DESTINATION]));
}

/* ---- the new ones ---- */

static bool is_connected(struct journey *journey)
{
	return journey->guard && journey->domain &&
	       !guard_is_broken(journey->guard, GUARD_SOURCE, NULL) &&
	       !guard_is_broken(journey->guard, GUARD_DESTINATION, NULL);
}

static bool try_once(struct journey *journey, GError **error)
{
	drop_movers(journey);
	if (!is_connected(journey) && !journey_reconnect(journey, error))
		return false;
	/* the old key may be in a dead mover's core file */
	if (!wait_failed(journey, error) || !random_hex(journey->key, 64, error) ||
	    !phase_link(journey, error))
		return false;
	for (int side = JOURNEY_SIDES - 1; side >= 0; side--)
		movers_tell(journey, side, dialogue_message("start"));
	return true;
}

bool postcopy_renew(struct journey *journey, GError **error)
{
	struct postcopy *postcopy = journey->postcopy;
	g_autofree char *why = journey->mover_reason ? g_strdup(journey->mover_reason) : NULL;
	while (postcopy->tries < TRIES) {
		postcopy->broken = false;
		postcopy->dark_us = postcopy->renewed_us = 0;
		g_autoptr(GError) failure = NULL;
		if (postcopy->tries++ > 0)
			journey_pause(journey,
				      MIN(PAUSE_FIRST_MS << (postcopy->tries - 2), PAUSE_MOST_MS));
		journey_note(
			journey, postcopy->tries == 1,
			_("Post-copy is broken (%s); recovering with new movers, try %d of %d."),
			why ? why : _("QEMU gave it up"), postcopy->tries, TRIES);
		journal_note_event(journey->journal, journey->report->id, "postcopy-recover", why);
		journey->report->postcopy_recoveries = postcopy->tries;
		journey_say(journey, _("recovering the post-copy"));
		if (try_once(journey, &failure)) {
			postcopy->renewed_us = clock_now_us();
			return true;
		}
		g_free(why);
		why = error_what(failure);
	}
	postcopy_give_up(journey, why, error);
	return false;
}
