/* SPDX-License-Identifier: Apache-2.0 */
/* After libvirt's call: where is the VM, and what is left to do? */
#include "conductor/settle/settle.h"

#include "conductor/disks/disk_after.h"
#include "conductor/prepare/belongings.h"
#include "conductor/settle/announce.h"
#include "conductor/settle/carry_out.h"
#include "conductor/endings/ending.h"
#include "conductor/settle/foreign_jobs.h"
#include "conductor/disks/images.h"
#include "conductor/core/movers.h"
#include "conductor/live/qemu_settings.h"
#include "conductor/live/finish.h"
#include "conductor/postcopy/postcopy.h"
#include "conductor/through/through.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/json.h"

enum {
	UNKNOWN_MS = 90000,  /* hosts that do not answer are asked again for so long */
	UNSTABLE_MS = 15000, /* libvirt is given so long to end by itself */
	SAME_MS = 2000,
	LATE_MS =
		45000, /* past libvirtd's keepalive (30 s): a Finish that is still on its way is over */
	PAUSE_MS = 300,
};

struct settling {
	struct move *move;
	struct ending ending;
	struct ending_sight sight;
	const struct ending_rule *rule;
	struct foreign_job job;
	GError *error;
	bool good, swept;
};

/* ---- in threads ---- */

/* Whoever has called libvirt himself knows that its job is his. */
static void look_at_job(struct settling *settling)
{
	struct move *move = settling->move;
	if (!move->guard && settling->sight.known[MOVE_SOURCE])
		settling->sight.foreign_job =
			foreign_jobs_look(&settling->job, &settling->sight.vms[MOVE_SOURCE],
					  move->report->id[0] != 0, clock_now_ms());
}

static void call_look_at_hosts(void *data)
{
	struct settling *settling = data;
	ending_sight_clear(&settling->sight);
	ending_look(&settling->ending, &settling->sight);
	settling->sight.paused_before = settling->move->paused_before;
	settling->sight.postcopy = postcopy_switched(settling->move);
	settling->sight.offline = settling->move->offline != NULL;
	settling->sight.defined = settling->move->defining;
	settling->sight.suspended = settling->move->suspending;
	settling->sight.ran = finish_find_out(settling->move);
	settling->sight.never_starts = finish_never_comes(settling->move);
	settling->sight.closed = settling->move->closed;
	look_at_job(settling);
	if (settling->move->through)
		settling->sight.through = settling->move->through->stage;
	settling->rule = ending_judge(&settling->sight);
}

static void call_close(void *data)
{
	ending_close(&((struct settling *) data)->ending);
}

static virDomainPtr find_situation(struct settling *settling, enum move_side side)
{
	struct host *host = settling->ending.hosts[side];
	return host ? virDomainLookupByUUIDString(host->connection, settling->ending.uuid) : NULL;
}

static void call_restore_before(void *data)
{
	struct settling *settling = data;
	virDomainPtr domain = find_situation(settling, MOVE_SOURCE);
	if (!domain)
		return;
	qemu_settings_restore(settling->move, domain);
	virDomainFree(domain);
}

static enum move_side side_of_vm(struct settling *settling)
{
	return settling->rule->outcome == MOVE_MIGRATED ? MOVE_DESTINATION : MOVE_SOURCE;
}

static bool is_ended(const struct settling *settling)
{
	return g_str_equal(settling->rule->name, ENDING_ENDED_AT_SOURCE);
}

/* ---- looking until it is clear ---- */

/* A second SIGINT cannot hurry this, but a first one may end the waiting for a host. */
static bool pause_a_moment(struct move *move)
{
	bool before = move->cancelled;
	move->cancelled = false;
	move_pause(move, PAUSE_MS);
	bool now = move->cancelled;
	move->cancelled = before || now;
	return !now;
}

/* A side that was not asked for anything, or has answered, has nothing left to do however its connection
 * ended. */
static bool is_order_lost(const struct through *through, struct guard *guard)
{
	return (through->ordered[MOVE_SOURCE] && guard_is_broken(guard, GUARD_SOURCE, NULL)) ||
	       (through->ordered[MOVE_DESTINATION] &&
		guard_is_broken(guard, GUARD_DESTINATION, NULL));
}

/* Two stopped copies: a Finish that was passed on but not executed yet would start the destination's,
 * and a copy that has run must not be thrown away (docs/guard.md). So unless this very move knows
 * that Finish was never said, only time tells. */
static bool may_still_start(const struct settling *settling)
{
	struct guard *guard = settling->move->guard;
	const struct through *through = settling->move->through;
	/* Here it is the order to end, to restore or to resume that may be on its way. */
	if (through && through->stage >= THROUGH_LEFT)
		return settling->rule->action != ENDING_NOTHING &&
		       settling->rule->action != ENDING_UNDEFINE_SOURCE &&
		       (!guard || is_order_lost(through, guard));
	bool paused = settling->sight.vms[MOVE_DESTINATION].state == HOST_VM_PAUSED;
	bool waits = settling->rule->action == ENDING_END_DESTINATION_RESUME ||
		     (paused && ending_is_unproven(settling->rule));
	return waits &&
	       (!guard || g_atomic_int_get(&settling->move->finish_said) != FINISH_NOT_SAID);
}

/* A sight that libvirt may still change is believed when it has stayed for a while and the source
 * has no job any more. A VM may be standing still meanwhile, so not longer than that. */
static bool is_situation_settled(const struct settling *settling, int64_t same_ms, int64_t all_ms)
{
	if (may_still_start(settling))
		return same_ms >= LATE_MS;
	/* a look at a host that does not answer is long enough by itself, and the VM stands still */
	if (ending_is_alone(settling->rule))
		return !settling->sight.vms[MOVE_SOURCE].busy || all_ms >= UNSTABLE_MS;
	/* one that gets on is alive (unless its conductor is known to be dead: then it may be about to
	 * end), one that does not is watched until it is proven to be dead */
	if (settling->sight.foreign_job)
		return settling->job.moved &&
		       same_ms >= (settling->move->report->id[0] ? UNSTABLE_MS : SAME_MS);
	if (!settling->rule->unstable || all_ms >= UNSTABLE_MS)
		return true;
	return same_ms >= SAME_MS && !settling->sight.vms[MOVE_SOURCE].busy;
}

/* Movers that a cut network hid from us may still be copying: this move has given their move up,
 * so they are ended. (One that is past its gate carries the hand-over out all the same. What another
 * conductor moves, `watari resolve` leaves alone.) */
static void end_hidden_movers(struct settling *settling)
{
	struct move *move = settling->move;
	const struct host_vm *source = &settling->sight.vms[MOVE_SOURCE];
	if (!move->guard || !move->performed || settling->swept || !source->busy)
		return;
	settling->swept = true;
	movers_sweep(move);
}

/* By every host whose answer the rule rests on: what can be said without one is not waited for. */
static bool is_answered(const struct settling *settling)
{
	return (settling->sight.known[MOVE_SOURCE] && settling->sight.known[MOVE_DESTINATION]) ||
	       settling->rule->outcome != MOVE_ATTENTION;
}

static void look_until_clear(struct settling *settling)
{
	struct move *move = settling->move;
	const struct ending_rule *last = NULL;
	int64_t start_ms = clock_now_ms(), since_ms = start_ms, known_ms = 0;
	move->progress.disk_total = 0;
	move_say(move, _("asking both hosts where the VM is"));
	for (;;) {
		bool foreign = settling->sight.foreign_job;
		move_call(move, call_look_at_hosts, settling);
		bool known = is_answered(settling);
		int64_t now_ms = clock_now_ms();
		/* what changed is only what is thought of the same job */
		bool same = foreign && !settling->sight.foreign_job &&
			    settling->sight.vms[MOVE_SOURCE].busy;
		if (settling->rule != last && !same)
			since_ms = now_ms;
		last = settling->rule;
		if (known && !known_ms)
			known_ms = now_ms;
		if (known ? is_situation_settled(settling, now_ms - since_ms, now_ms - known_ms)
			  : now_ms - start_ms >= UNKNOWN_MS)
			return;
		if (known && now_ms - since_ms >= SAME_MS)
			end_hidden_movers(settling);
		if (!known)
			move_say(move, _("waiting for a host that does not answer"));
		if (!pause_a_moment(move) && !known)
			return;
	}
}

/* ---- what follows ---- */

static void after_return(struct settling *settling)
{
	if (qemu_settings_is_known(settling->move)) {
		move_call(settling->move, call_restore_before, settling);
		qemu_settings_note_restored(settling->move);
	}
	bool moved_about = settling->move->stopped || settling->move->loaded ||
			   settling->move->still || settling->move->broken_off ||
			   ending_resumes_source(settling->rule->action);
	if (moved_about && !settling->move->offline && !is_ended(settling))
		announce_at_source(settling->move, settling->ending.hosts[MOVE_SOURCE]);
	images_remove(settling->move, settling->ending.hosts[MOVE_DESTINATION]);
}

static void leave_others_alone(struct settling *settling)
{
	struct move *move = settling->move;
	if (!move->guard && !move->offline && settling->rule->action != ENDING_NOTHING &&
	    foreign_jobs_have_movers(move))
		settling->rule = ending_rule_moving();
}

static void act_on_rule(struct settling *settling)
{
	struct move *move = settling->move;
	leave_others_alone(settling);
	move->postcopy_failed = ending_postcopy_failed(&settling->sight);
	move->situation = settling->rule->name;
	move->situation_what = ending_what(settling->rule, &settling->sight);
	/* That of a VM that is off ends like that always. A saved VM whose copy was not ended goes on. */
	bool saved = move->through && ending_resumes_source(settling->rule->action);
	bool usual = (move->offline || saved) && move->performed;
	/* What needs attention, or was the end of the VM, is the error that the program ends with. */
	if (move->situation_what && !move->dry_run && !usual && !is_ended(settling) &&
	    settling->rule->outcome != MOVE_ATTENTION)
		move_note(move, true, "%s", move->situation_what);
	bool through = move->through && settling->rule->outcome == MOVE_MIGRATED;
	if ((settling->rule->action == ENDING_NOTHING && !through) || move->dry_run) {
		settling->good = true;
		return;
	}
	move->acted = settling->rule->action != ENDING_NOTHING;
	journal_note_event(move->journal, move->report->id, "ending", settling->rule->name);
	settling->good = carry_out_ending(move, &settling->ending, &settling->sight, settling->rule,
					  &settling->error);
}

/* The VM has moved, and a libvirtd that ended between the look and the deed takes nothing but its time:
 * all that was left to do is to take a definition away, which may be asked for twice. */
static void act_again(struct settling *settling)
{
	if (settling->good || settling->rule->action != ENDING_UNDEFINE_SOURCE ||
	    !settling->move->performed || settling->move->dry_run)
		return;
	g_clear_error(&settling->error);
	look_until_clear(settling);
	act_on_rule(settling);
}

/* The VM goes on already; what is left at the destination is put right if it answers in time. */
static void clean_up_late(struct settling *settling)
{
	const struct ending_rule *alone = settling->rule;
	look_until_clear(settling);
	if (settling->rule->outcome == MOVE_FAILED)
		act_on_rule(settling);
	else
		settling->rule = alone;
	settling->move->acted = true;
}

/* ---- the outcome ---- */

static void copy_states(struct settling *settling)
{
	for (int side = 0; side < MOVE_SIDES; side++) {
		struct move_report_side *report = &settling->move->report->sides[side];
		g_free(report->vm_state);
		report->vm_state = g_strdup(ending_state_name(&settling->sight, side));
	}
}

/* The host that does not answer, or whatever else the rule's words leave open. */
static void set_attention(struct settling *settling, GError **error)
{
	g_autofree char *before = *error ? error_what(*error) : NULL;
	const char *what = ending_what(settling->rule, &settling->sight);
	g_autofree char *why = NULL;
	for (int side = 0; side < MOVE_SIDES && !why; side++)
		if (settling->sight.errors[side])
			why = error_what(settling->sight.errors[side]);
	g_clear_error(error);
	error_set(error, WATARI_ERROR_ATTENTION,
		  settling->rule->next ? _(settling->rule->next) : NULL, "%s%s%s%s%s%s",
		  what ? what : "", why ? " (" : "", why ? why : "", why ? ")" : "",
		  before ? "; " : "", before ? before : "");
}

/* Nothing failed: there was nothing left to move. */
static void set_ended(struct settling *settling, GError **error)
{
	g_autofree char *before = *error ? error_what(*error) : NULL;
	const char *what = ending_what(settling->rule, &settling->sight);
	g_clear_error(error);
	error_set(error, WATARI_ERROR_FAILED, _(settling->rule->next), "%s%s%s%s", what,
		  before ? " (" : "", before ? before : "", before ? ")" : "");
}

/* What was right to be done could not be. */
static void set_undone(struct settling *settling, GError **error)
{
	g_autofree char *why = error_what(settling->error);
	g_autofree char *next = error_next(settling->error);
	const char *what = ending_what(settling->rule, &settling->sight);
	g_clear_error(error);
	g_clear_error(&settling->error);
	error_set(error, WATARI_ERROR_ATTENTION,
		  next ? next : _("When it can be reached again, run “watari resolve”."),
		  "%s%s%s%s", what ? what : "", what ? " (" : "", why, what ? ")" : "");
}

static bool conclude_settling(struct settling *settling, bool said_migrated, GError **error)
{
	struct move_report *report = settling->move->report;
	if (settling->error) {
		set_undone(settling, error);
		report->outcome = MOVE_ATTENTION;
		return false;
	}
	report->outcome = settling->rule->outcome;
	if (report->outcome == MOVE_MIGRATED) {
		if (settling->move->cancelled && settling->move->performed)
			move_note(settling->move, true, "%s",
				  _("The cancel came too late: the hand-over was done."));
		g_clear_error(error);
		return true;
	}
	if (report->outcome == MOVE_FAILED && settling->move->rehearsal && said_migrated) {
		report->outcome = MOVE_REHEARSED;
		g_clear_error(error);
		return true;
	}
	if (report->outcome == MOVE_ATTENTION) {
		set_attention(settling, error);
		return false;
	}
	if (is_ended(settling)) {
		set_ended(settling, error);
		return false;
	}
	if (settling->move->paused_before && settling->move->performed)
		move_note(settling->move, true, "%s",
			  _("The VM is paused as before. QEMU may refuse to move it again until it "
			    "has run for a moment (virsh resume, virsh suspend)."));
	if (!*error)
		error_set(error, WATARI_ERROR_FAILED, NULL, "%s",
			  _("libvirt said that the VM had moved, but it runs at the source"));
	error_classify(error, WATARI_ERROR_FAILED, NULL);
	if ((*error)->code == WATARI_ERROR_CANCELLED)
		report->outcome = MOVE_CANCELLED;
	return false;
}

/* What the guard did not have to cut may be asked at once: a VM that is back at the source should
 * not wait for new connections before the network hears of it. */
static void borrow_hosts(struct settling *settling)
{
	struct move *move = settling->move;
	if (!move->guard || guard_is_broken(move->guard, GUARD_SOURCE, NULL) ||
	    guard_is_broken(move->guard, GUARD_DESTINATION, NULL))
		return;
	guard_disarm(move->guard);
	for (int side = 0; side < MOVE_SIDES; side++)
		settling->ending.borrowed[side] = move->hosts[side];
}

static void fill_ending(struct settling *settling)
{
	struct move *move = settling->move;
	settling->ending.shell = &move->shell;
	settling->ending.uuid = move->report->vm_uuid;
	settling->ending.name = move->report->vm_name;
	settling->ending.undefine_source = move->undefine_source;
	settling->ending.state = move->through ? move->through->path : NULL;
	settling->ending.paused_before = move->paused_before;
	settling->ending.was_off = move->offline != NULL;
	for (int side = 0; side < MOVE_SIDES; side++) {
		settling->ending.addresses[side] = move->addresses[side];
		settling->ending.host_uuids[side] = move->host_uuids[side];
	}
}

bool move_settle(struct move *move, bool said_migrated, GError **error)
{
	struct settling settling = { .move = move };
	GError *own = error && *error ? g_steal_pointer(error) : NULL;
	fill_ending(&settling);
	borrow_hosts(&settling);
	look_until_clear(&settling);
	act_on_rule(&settling);
	act_again(&settling);
	if (ending_is_alone(settling.rule) && settling.good && !move->dry_run)
		clean_up_late(&settling);
	if (move->acted) {
		g_autoptr(GError) kept = g_steal_pointer(&settling.error);
		const struct ending_rule *rule = settling.rule;
		move_call(move, call_look_at_hosts, &settling);
		settling.rule = rule;
		settling.error = g_steal_pointer(&kept);
	}
	copy_states(&settling);
	if (!settling.error && !move->dry_run && settling.rule->outcome != MOVE_ATTENTION) {
		belongings_hand_over(move, settling.ending.hosts, side_of_vm(&settling));
		if (settling.rule->outcome == MOVE_MIGRATED)
			disk_after_move(move, settling.ending.hosts[MOVE_SOURCE]);
		else
			after_return(&settling);
		through_remove(move);
		finish_forget(move);
	}
	if (move->through && move->through->stage >= THROUGH_STOPPED &&
	    settling.rule->outcome == MOVE_ATTENTION)
		move_note(move, true, _("The saved state of the VM stays in %s."),
			  move->through->path);
	bool good = conclude_settling(&settling, said_migrated, &own);
	move_call(move, call_close, &settling);
	ending_sight_clear(&settling.sight);
	if (own)
		g_propagate_error(error, own);
	return good;
}

void move_restore_source(struct move *move)
{
	if (move->belongings)
		belongings_hand_over(move, move->hosts, MOVE_SOURCE);
}
