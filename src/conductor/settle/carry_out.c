/* SPDX-License-Identifier: Apache-2.0 */
/* Does what a rule of the endings says. See carry_out.h. */
#include "conductor/settle/carry_out.h"

#include "conductor/through/through.h"

#include "base/i18n.h"

struct carrying {
	struct move *move;
	struct ending *ending;
	struct ending_sight seen; /* as both were when the next action was decided on */
	const struct ending_rule *rule;
	enum ending_action action; /* just now */
	bool good;
	GError *error;
};

static void call_act(void *data)
{
	struct carrying *carrying = data;
	carrying->good =
		ending_act(carrying->ending, carrying->action, &carrying->seen, &carrying->error);
}

static void call_define_there(void *data)
{
	struct carrying *carrying = data;
	carrying->good = ending_define(carrying->ending, &carrying->error);
}

static bool do_action(struct carrying *carrying, enum ending_action action)
{
	carrying->action = action;
	move_call(carrying->move, call_act, carrying);
	return carrying->good;
}

static bool define_there(struct carrying *carrying)
{
	const struct through *through = carrying->move->through;
	if (!through || !through->persist || carrying->rule->outcome != MOVE_MIGRATED)
		return true;
	move_call(carrying->move, call_define_there, carrying);
	return carrying->good;
}

/* ---- through a directory ---- */

static void call_look_again(void *data)
{
	struct carrying *carrying = data;
	struct ending_sight now;
	ending_look(carrying->ending, &now);
	for (int side = 0; side < MOVE_SIDES; side++) {
		carrying->seen.known[side] = now.known[side];
		carrying->seen.vms[side] = now.vms[side];
	}
	ending_sight_clear(&now);
}

/* What goes on from the saved state may have run from then on: that is written down first, so that
 * nobody ever restores from it again. */
static bool go_on_from_state(struct carrying *carrying)
{
	struct move *move = carrying->move;
	if (!through_check(move, MOVE_SOURCE, &carrying->error) ||
	    !through_is_unchanged(move, MOVE_SOURCE, &carrying->error) ||
	    !do_action(carrying, carrying->rule->action))
		return false;
	move_call(move, call_look_again, carrying);
	return through_enter(move, THROUGH_RESTORED, &carrying->error) &&
	       (move->paused_before || do_action(carrying, ENDING_RESUME_SOURCE_ALONE));
}

static void explain_state(struct carrying *carrying)
{
	if (carrying->error->code == WATARI_ERROR_ATTENTION)
		return;
	g_autofree char *what = error_what(carrying->error);
	g_clear_error(&carrying->error);
	error_set(
		&carrying->error, WATARI_ERROR_ATTENTION,
		_("Repair that, then run “watari resolve”. Remove nothing: the state is all there "
		  "is of the VM's memory."),
		_("the VM could not be restored at the source from %s: %s"),
		carrying->move->through->path, what);
}

static bool restore_at_source(struct carrying *carrying)
{
	if (go_on_from_state(carrying))
		return true;
	explain_state(carrying);
	return false;
}

static void explain_waiting(struct carrying *carrying)
{
	const struct move *move = carrying->move;
	g_autofree char *what = error_what(carrying->error);
	g_clear_error(&carrying->error);
	error_set(&carrying->error, WATARI_ERROR_ATTENTION,
		  _("Make the journal's directory writable, then run “watari resolve”. Until then "
		    "nothing runs, and nothing is lost."),
		  _("the VM waits at %s, restored and paused: that it goes on there could not be "
		    "written down (%s)"),
		  move->addresses[MOVE_DESTINATION]->text, what);
}

/* Its disks will be newer than the saved state from then on, and whoever reads the journal must know. */
static bool enter_resumed(struct carrying *carrying)
{
	if (through_enter(carrying->move, THROUGH_RESUMED, &carrying->error))
		return true;
	explain_waiting(carrying);
	return false;
}

/* First it goes on: a definition that fails must not keep it standing still. */
static bool resume_at_destination(struct carrying *carrying)
{
	return enter_resumed(carrying) && do_action(carrying, carrying->rule->action) &&
	       define_there(carrying) &&
	       (carrying->seen.vms[MOVE_SOURCE].state != HOST_VM_OFF ||
		do_action(carrying, ENDING_UNDEFINE_SOURCE));
}

/* ---- the whole ---- */

static bool carry_out_action(struct carrying *carrying)
{
	switch (carrying->rule->action) {
	case ENDING_RESTORE_SOURCE:
	case ENDING_END_DESTINATION_RESTORE:
		return restore_at_source(carrying);
	case ENDING_RESUME_DESTINATION:
		return resume_at_destination(carrying);
	default:
		return define_there(carrying) && do_action(carrying, carrying->rule->action);
	}
}

bool carry_out_ending(struct move *move, struct ending *ending, const struct ending_sight *seen,
		      const struct ending_rule *rule, GError **error)
{
	struct carrying carrying = { .move = move, .ending = ending, .seen = *seen, .rule = rule };
	if (carry_out_action(&carrying))
		return true;
	g_propagate_error(error, carrying.error);
	return false;
}
