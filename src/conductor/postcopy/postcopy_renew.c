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
#include "control/messages.h"

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

void postcopy_give_up(struct move *move, const char *before, GError **error)
{
	error_set(error, WATARI_ERROR_ATTENTION, next_step(),
		  _("post-copy of %s is broken in the middle: the destination has a part of its "
		    "memory "
		    "and the source has the rest%s%s%s"),
		  move->report->vm_name, before ? " (" : "", before ? before : "",
		  before ? ")" : "");
}

/* ---- the old movers ---- */

void postcopy_let_go(struct move *move, const char *reason)
{
	for (int side = 0; side < MOVE_SIDES; side++) {
		JsonObject *message = dialogue_message(MESSAGE_ABORT);
		json_object_set_boolean_member(message, "recover", TRUE);
		json_object_set_string_member(message, "reason", reason);
		movers_tell(move, side, message);
	}
}

static bool both_are_done(void *data)
{
	struct move *move = data;
	for (int side = 0; side < MOVE_SIDES; side++) {
		bool alive = movers_alive(move, side);
		g_autoptr(JsonObject) done =
			alive ? dialogue_take(move->movers[side], MESSAGE_DONE) : NULL;
		move->postcopy->done_sides |= (alive && !done ? 0u : 1u) << side;
	}
	return move->postcopy->done_sides == 3;
}

static void drop_movers(struct move *move)
{
	move->postcopy->done_sides = 0;
	postcopy_let_go(move, "the post-copy is to be recovered");
	move_wait(move, both_are_done, move, LET_GO_MS, NULL);
	movers_end(move);
	g_clear_pointer(&move->ssh_link, ssh_link_free);
	g_clear_pointer(&move->mover_reason, g_free);
	movers_sweep(move);
}

/* ---- what libvirt sees ---- */

struct asking {
	struct move *move;
	struct host_vm vms[MOVE_SIDES];
	GError *error;
	bool good;
};

static void call_ask_state(void *data)
{
	struct asking *asking = data;
	struct move *move = asking->move;
	asking->good = true;
	for (int side = 0; side < MOVE_SIDES && asking->good; side++)
		asking->good = host_vm_ask(move->hosts[side], move->report->vm_uuid,
					   &asking->vms[side], &asking->error);
}

static bool has_renewal_failed(const struct host_vm *vm)
{
	return (vm->state == HOST_VM_PAUSED || vm->state == HOST_VM_INCOMING)
		       ? vm->reason == VIR_DOMAIN_PAUSED_POSTCOPY_FAILED
		       : vm->state == HOST_VM_RUNNING &&
				 vm->reason == VIR_DOMAIN_RUNNING_POSTCOPY_FAILED;
}

/* libvirt refuses to recover before it has seen both of them fail. */
static bool wait_failed(struct move *move, GError **error)
{
	struct asking asking = { .move = move };
	int64_t until_ms = clock_now_ms() + STATES_MS;
	do {
		g_clear_error(&asking.error);
		move_call(move, call_ask_state, &asking);
		if (!asking.good) {
			g_propagate_error(error, asking.error);
			return false;
		}
		if (has_renewal_failed(&asking.vms[MOVE_SOURCE]) &&
		    has_renewal_failed(&asking.vms[MOVE_DESTINATION]))
			return true;
		move_pause(move, STATES_STEP_MS);
	} while (clock_now_ms() < until_ms);
	return error_set(
		error, WATARI_ERROR_INTERNAL, NULL,
		_("libvirt does not say of both copies that post-copy failed: %s is %s (%s), "
		  "%s is %s (%s)"),
		move->hosts[MOVE_SOURCE]->name, host_vm_state_name(asking.vms[MOVE_SOURCE].state),
		host_vm_reason_name(&asking.vms[MOVE_SOURCE]), move->hosts[MOVE_DESTINATION]->name,
		host_vm_state_name(asking.vms[MOVE_DESTINATION].state),
		host_vm_reason_name(&asking.vms[MOVE_DESTINATION]));
}

/* ---- the new ones ---- */

static bool are_movers_connected(struct move *move)
{
	return move->guard && move->domain && !guard_is_broken(move->guard, GUARD_SOURCE, NULL) &&
	       !guard_is_broken(move->guard, GUARD_DESTINATION, NULL);
}

static bool try_once(struct move *move, GError **error)
{
	drop_movers(move);
	if (!are_movers_connected(move) && !move_reconnect(move, error))
		return false;
	/* the old key may be in a dead mover's core file */
	if (!wait_failed(move, error) || !random_hex(move->key, 64, error) ||
	    !phase_link(move, error))
		return false;
	for (int side = MOVE_SIDES - 1; side >= 0; side--)
		movers_tell(move, side, dialogue_message(MESSAGE_START));
	return true;
}

bool postcopy_renew(struct move *move, GError **error)
{
	struct postcopy *postcopy = move->postcopy;
	g_autofree char *why = move->mover_reason ? g_strdup(move->mover_reason) : NULL;
	while (postcopy->tries < TRIES) {
		postcopy->broken = false;
		postcopy->dark_us = postcopy->renewed_us = 0;
		g_autoptr(GError) failure = NULL;
		if (postcopy->tries++ > 0)
			move_pause(move,
				   MIN(PAUSE_FIRST_MS << (postcopy->tries - 2), PAUSE_MOST_MS));
		move_note(move, postcopy->tries == 1,
			  _("Post-copy is broken (%s); recovering with new movers, try %d of %d."),
			  why ? why : _("QEMU gave it up"), postcopy->tries, TRIES);
		journal_note_event(move->journal, move->report->id, "postcopy-recover", why);
		move->report->postcopy_recoveries = postcopy->tries;
		move_say(move, _("recovering the post-copy"));
		if (try_once(move, &failure)) {
			postcopy->renewed_us = clock_now_us();
			return true;
		}
		g_free(why);
		why = error_what(failure);
	}
	postcopy_give_up(move, why, error);
	return false;
}
