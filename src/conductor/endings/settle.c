/* SPDX-License-Identifier: Apache-2.0 */
/* After libvirt's call: where is the VM, and what is left to do? */
#include "conductor/endings/settle.h"

#include "conductor/disks/disk_after.h"
#include "conductor/core/belongings.h"
#include "conductor/endings/announce.h"
#include "conductor/endings/carry_out.h"
#include "conductor/endings/ending.h"
#include "conductor/endings/foreign_jobs.h"
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
	struct journey *journey;
	struct ending ending;
	struct ending_sight sight;
	const struct ending_rule *rule;
	struct others_job job;
	GError *error;
	bool good, swept;
};

/* ---- in threads ---- */

/* Whoever has called libvirt himself knows that its job is his. */
static void look_at_job(struct settling *settling)
{
	struct journey *journey = settling->journey;
	if (!journey->guard && settling->sight.known[JOURNEY_SOURCE])
		settling->sight.foreign_job =
			others_look_at_job(&settling->job, &settling->sight.vms[JOURNEY_SOURCE],
					   journey->report->id[0] != 0, clock_now_ms());
}

static void call_look(void *data)
{
	struct settling *settling = data;
	ending_sight_clear(&settling->sight);
	ending_look(&settling->ending, &settling->sight);
	settling->sight.paused_before = settling->journey->paused_before;
	settling->sight.postcopy = postcopy_switched(settling->journey);
	settling->sight.offline = settling->journey->offline != NULL;
	settling->sight.defined = settling->journey->defining;
	settling->sight.suspended = settling->journey->suspending;
	settling->sight.ran = finish_find_out(settling->journey);
	settling->sight.never_starts = finish_never_comes(settling->journey);
	settling->sight.closed = settling->journey->closed;
	look_at_job(settling);
	if (settling->journey->through)
		settling->sight.through = settling->journey->through->stage;
	settling->rule = ending_judge(&settling->sight);
}

static void call_close(void *data)
{
	ending_close(&((struct settling *) data)->ending);
}

static virDomainPtr find(struct settling *settling, enum journey_side side)
{
	struct host *host = settling->ending.hosts[side];
	return host ? virDomainLookupByUUIDString(host->connection, settling->ending.uuid) : NULL;
}

static void call_restore_before(void *data)
{
	struct settling *settling = data;
	virDomainPtr domain = find(settling, JOURNEY_SOURCE);
	if (!domain)
		return;
	before_restore(settling->journey, domain);
	virDomainFree(domain);
}

static enum journey_side side_of_vm(struct settling *settling)
{
	return settling->rule->outcome == JOURNEY_MIGRATED ? JOURNEY_DESTINATION : JOURNEY_SOURCE;
}

static bool is_ended(const struct settling *settling)
{
	return g_str_equal(settling->rule->name, ENDING_ENDED_AT_SOURCE);
}

/* ---- looking until it is clear ---- */

/* A second SIGINT cannot hurry this, but a first one may end the waiting for a host. */
static bool pause_a_moment(struct journey *journey)
{
	bool before = journey->cancelled;
	journey->cancelled = false;
	journey_pause(journey, PAUSE_MS);
	bool now = journey->cancelled;
	journey->cancelled = before || now;
	return !now;
}

/* A side that was not asked for anything, or has answered, has nothing left to do however its connection
 * ended. */
static bool is_order_lost(const struct through *through, struct guard *guard)
{
	return (through->ordered[JOURNEY_SOURCE] && guard_is_broken(guard, GUARD_SOURCE, NULL)) ||
	       (through->ordered[JOURNEY_DESTINATION] &&
		guard_is_broken(guard, GUARD_DESTINATION, NULL));
}

/* Two stopped copies: a Finish that was passed on but not executed yet would start the destination's,
 * and a copy that has run must not be thrown away (docs/guard.md). So unless this very journey knows
 * that Finish was never said, only time tells. */
static bool may_still_start(const struct settling *settling)
{
	struct guard *guard = settling->journey->guard;
	const struct through *through = settling->journey->through;
	/* Here it is the order to end, to restore or to resume that may be on its way. */
	if (through && through->stage >= THROUGH_LEFT)
		return settling->rule->action != ENDING_NOTHING &&
		       settling->rule->action != ENDING_UNDEFINE_SOURCE &&
		       (!guard || is_order_lost(through, guard));
	bool paused = settling->sight.vms[JOURNEY_DESTINATION].state == HOST_VM_PAUSED;
	bool waits = settling->rule->action == ENDING_END_DESTINATION_RESUME ||
		     (paused && ending_is_unproven(settling->rule));
	return waits &&
	       (!guard || g_atomic_int_get(&settling->journey->finish_said) != FINISH_NOT_SAID);
}

/* A sight that libvirt may still change is believed when it has stayed for a while and the source
 * has no job any more. A VM may be standing still meanwhile, so not longer than that. */
static bool is_settled(const struct settling *settling, int64_t same_ms, int64_t all_ms)
{
	if (may_still_start(settling))
		return same_ms >= LATE_MS;
	/* a look at a host that does not answer is long enough by itself, and the VM stands still */
	if (ending_is_alone(settling->rule))
		return !settling->sight.vms[JOURNEY_SOURCE].busy || all_ms >= UNSTABLE_MS;
	/* one that gets on is alive (unless its conductor is known to be dead: then it may be about to
	 * end), one that does not is watched until it is proven to be dead */
	if (settling->sight.foreign_job)
		return settling->job.moved &&
		       same_ms >= (settling->journey->report->id[0] ? UNSTABLE_MS : SAME_MS);
	if (!settling->rule->unstable || all_ms >= UNSTABLE_MS)
		return true;
	return same_ms >= SAME_MS && !settling->sight.vms[JOURNEY_SOURCE].busy;
}

/* Movers that a cut network hid from us may still be copying: this journey has given their move up,
 * so they are ended. (One that is past its gate carries the hand-over out all the same. What another
 * conductor moves, `watari resolve` leaves alone.) */
static void end_hidden_movers(struct settling *settling)
{
	struct journey *journey = settling->journey;
	const struct host_vm *source = &settling->sight.vms[JOURNEY_SOURCE];
	if (!journey->guard || !journey->performed || settling->swept || !source->busy)
		return;
	settling->swept = true;
	movers_sweep(journey);
}

/* By every host whose answer the rule rests on: what can be said without one is not waited for. */
static bool is_answered(const struct settling *settling)
{
	return (settling->sight.known[JOURNEY_SOURCE] &&
		settling->sight.known[JOURNEY_DESTINATION]) ||
	       settling->rule->outcome != JOURNEY_ATTENTION;
}

static void look_until_clear(struct settling *settling)
{
	struct journey *journey = settling->journey;
	const struct ending_rule *last = NULL;
	int64_t start_ms = clock_now_ms(), since_ms = start_ms, known_ms = 0;
	journey->progress.disk_total = 0;
	journey_say(journey, _("asking both hosts where the VM is"));
	for (;;) {
		bool foreign = settling->sight.foreign_job;
		journey_call(journey, call_look, settling);
		bool known = is_answered(settling);
		int64_t now_ms = clock_now_ms();
		/* what changed is only what is thought of the same job */
		bool same = foreign && !settling->sight.foreign_job &&
			    settling->sight.vms[JOURNEY_SOURCE].busy;
		if (settling->rule != last && !same)
			since_ms = now_ms;
		last = settling->rule;
		if (known && !known_ms)
			known_ms = now_ms;
		if (known ? is_settled(settling, now_ms - since_ms, now_ms - known_ms)
			  : now_ms - start_ms >= UNKNOWN_MS)
			return;
		if (known && now_ms - since_ms >= SAME_MS)
			end_hidden_movers(settling);
		if (!known)
			journey_say(journey, _("waiting for a host that does not answer"));
		if (!pause_a_moment(journey) && !known)
			return;
	}
}

/* ---- what follows ---- */

static void after_return(struct settling *settling)
{
	if (before_is_known(settling->journey)) {
		journey_call(settling->journey, call_restore_before, settling);
		before_note_restored(settling->journey);
	}
	bool moved_about = settling->journey->stopped || settling->journey->loaded ||
			   settling->journey->still || settling->journey->broken_off ||
			   ending_resumes_source(settling->rule->action);
	if (moved_about && !settling->journey->offline && !is_ended(settling))
		announce_at_source(settling->journey, settling->ending.hosts[JOURNEY_SOURCE]);
	images_remove(settling->journey, settling->ending.hosts[JOURNEY_DESTINATION]);
}

static void leave_others_alone(struct settling *settling)
{
	struct journey *journey = settling->journey;
	if (!journey->guard && !journey->offline && settling->rule->action != ENDING_NOTHING &&
	    others_have_movers(journey))
		settling->rule = ending_rule_moving();
}

static void act(struct settling *settling)
{
	struct journey *journey = settling->journey;
	leave_others_alone(settling);
	journey->postcopy_failed = ending_postcopy_failed(&settling->sight);
	journey->situation = settling->rule->name;
	journey->situation_what = ending_what(settling->rule, &settling->sight);
	/* That of a VM that is off ends like that always. A saved VM whose copy was not ended goes on. */
	bool saved = journey->through && ending_resumes_source(settling->rule->action);
	bool usual = (journey->offline || saved) && journey->performed;
	/* What needs attention, or was the end of the VM, is the error that the program ends with. */
	if (journey->situation_what && !journey->dry_run && !usual && !is_ended(settling) &&
	    settling->rule->outcome != JOURNEY_ATTENTION)
		journey_note(journey, true, "%s", journey->situation_what);
	bool through = journey->through && settling->rule->outcome == JOURNEY_MIGRATED;
	if ((settling->rule->action == ENDING_NOTHING && !through) || journey->dry_run) {
		settling->good = true;
		return;
	}
	journey->acted = settling->rule->action != ENDING_NOTHING;
	journal_note_event(journey->journal, journey->report->id, "ending", settling->rule->name);
	settling->good = carry_out_ending(journey, &settling->ending, &settling->sight,
					  settling->rule, &settling->error);
}

/* The VM has moved, and a libvirtd that ended between the look and the deed takes nothing but its time:
 * all that was left to do is to take a definition away, which may be asked for twice. */
static void act_again(struct settling *settling)
{
	if (settling->good || settling->rule->action != ENDING_UNDEFINE_SOURCE ||
	    !settling->journey->performed || settling->journey->dry_run)
		return;
	g_clear_error(&settling->error);
	look_until_clear(settling);
	act(settling);
}

/* The VM goes on already; what is left at the destination is put right if it answers in time. */
static void clean_up_late(struct settling *settling)
{
	const struct ending_rule *alone = settling->rule;
	look_until_clear(settling);
	if (settling->rule->outcome == JOURNEY_FAILED)
		act(settling);
	else
		settling->rule = alone;
	settling->journey->acted = true;
}

/* ---- the outcome ---- */

static void copy_states(struct settling *settling)
{
	for (int side = 0; side < JOURNEY_SIDES; side++) {
		struct journey_report_side *report = &settling->journey->report->sides[side];
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
	for (int side = 0; side < JOURNEY_SIDES && !why; side++)
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

static bool conclude(struct settling *settling, bool said_migrated, GError **error)
{
	struct journey_report *report = settling->journey->report;
	if (settling->error) {
		set_undone(settling, error);
		report->outcome = JOURNEY_ATTENTION;
		return false;
	}
	report->outcome = settling->rule->outcome;
	if (report->outcome == JOURNEY_MIGRATED) {
		if (settling->journey->cancelled && settling->journey->performed)
			journey_note(settling->journey, true, "%s",
				     _("The cancel came too late: the hand-over was done."));
		g_clear_error(error);
		return true;
	}
	if (report->outcome == JOURNEY_FAILED && settling->journey->rehearsal && said_migrated) {
		report->outcome = JOURNEY_REHEARSED;
		g_clear_error(error);
		return true;
	}
	if (report->outcome == JOURNEY_ATTENTION) {
		set_attention(settling, error);
		return false;
	}
	if (is_ended(settling)) {
		set_ended(settling, error);
		return false;
	}
	if (settling->journey->paused_before && settling->journey->performed)
		journey_note(
			settling->journey, true, "%s",
			_("The VM is paused as before. QEMU may refuse to move it again until it "
			  "has run for a moment (virsh resume, virsh suspend)."));
	if (!*error)
		error_set(error, WATARI_ERROR_FAILED, NULL, "%s",
			  _("libvirt said that the VM had moved, but it runs at the source"));
	error_classify(error, WATARI_ERROR_FAILED, NULL);
	if ((*error)->code == WATARI_ERROR_CANCELLED)
		report->outcome = JOURNEY_CANCELLED;
	return false;
}

/* What the guard did not have to cut may be asked at once: a VM that is back at the source should
 * not wait for new connections before the network hears of it. */
static void borrow_hosts(struct settling *settling)
{
	struct journey *journey = settling->journey;
	if (!journey->guard || guard_is_broken(journey->guard, GUARD_SOURCE, NULL) ||
	    guard_is_broken(journey->guard, GUARD_DESTINATION, NULL))
		return;
	guard_disarm(journey->guard);
	for (int side = 0; side < JOURNEY_SIDES; side++)
		settling->ending.borrowed[side] = journey->hosts[side];
}

static void fill_ending(struct settling *settling)
{
	struct journey *journey = settling->journey;
	settling->ending.shell = &journey->shell;
	settling->ending.uuid = journey->report->vm_uuid;
	settling->ending.name = journey->report->vm_name;
	settling->ending.undefine_source = journey->undefine_source;
	settling->ending.state = journey->through ? journey->through->path : NULL;
	settling->ending.paused_before = journey->paused_before;
	settling->ending.was_off = journey->offline != NULL;
	for (int side = 0; side < JOURNEY_SIDES; side++) {
		settling->ending.addresses[side] = journey->addresses[side];
		settling->ending.host_uuids[side] = journey->host_uuids[side];
	}
}

bool journey_settle(struct journey *journey, bool said_migrated, GError **error)
{
	struct settling settling = { .journey = journey };
	GError *own = error && *error ? g_steal_pointer(error) : NULL;
	fill_ending(&settling);
	borrow_hosts(&settling);
	look_until_clear(&settling);
	act(&settling);
	act_again(&settling);
	if (ending_is_alone(settling.rule) && settling.good && !journey->dry_run)
		clean_up_late(&settling);
	if (journey->acted) {
		g_autoptr(GError) kept = g_steal_pointer(&settling.error);
		const struct ending_rule *rule = settling.rule;
		journey_call(journey, call_look, &settling);
		settling.rule = rule;
		settling.error = g_steal_pointer(&kept);
	}
	copy_states(&settling);
	if (!settling.error && !journey->dry_run && settling.rule->outcome != JOURNEY_ATTENTION) {
		belongings_hand_over(journey, settling.ending.hosts, side_of_vm(&settling));
		if (settling.rule->outcome == JOURNEY_MIGRATED)
			disk_after_move(journey, settling.ending.hosts[JOURNEY_SOURCE]);
		else
			after_return(&settling);
		through_remove(journey);
		finish_forget(journey);
	}
	if (journey->through && journey->through->stage >= THROUGH_STOPPED &&
	    settling.rule->outcome == JOURNEY_ATTENTION)
		journey_note(journey, true, _("The saved state of the VM stays in %s."),
			     journey->through->path);
	bool good = conclude(&settling, said_migrated, &own);
	journey_call(journey, call_close, &settling);
	ending_sight_clear(&settling.sight);
	if (own)
		g_propagate_error(error, own);
	return good;
}

void journey_restore_source(struct journey *journey)
{
	if (journey->belongings)
		belongings_hand_over(journey, journey->hosts, JOURNEY_SOURCE);
}
