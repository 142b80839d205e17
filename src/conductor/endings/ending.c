/* SPDX-License-Identifier: Apache-2.0 */
/* The situations that a move can leave, and what follows from each. */
#include "conductor/endings/ending.h"

#include "base/i18n.h"

#include <libvirt/virterror.h>

/* ---- the table ---- */

/* What a rule asks of one side; its GONE is OFF, too. Paused is told apart by who paused it: a copy that a
 * migration stopped may be ended or continued by us, one that a person or an error stopped may not. Of a copy
 * in post-copy (PARTIAL), running or not, the other one may hold a part of the memory. BUSY: a job that is not
 * ours is at work on it. */
enum seen {
	ANY,
	UNKNOWN,
	GONE,
	OFF,
	RUNS,
	RUNS_BUSY,
	STOPPED,
	STOPPED_BUSY,
	COMING,
	HELD,
	PARTIAL
};

#define RUN_AT_BOTH N_("the VM runs at BOTH hosts: its disks are in danger")
#define END_ONE                                                                                   \
	N_("Find out which copy the users reach, and end the other one at once (virsh destroy). " \
	   "Nothing was done.")
#define LOOK_AGAIN N_("When it can be reached again, run “watari resolve”.")
#define HANDED_OVER N_("the VM runs at the destination; the stopped copy at the source is ended")
#define LEFT_THERE N_("the VM runs at the source; what was left at the destination is removed")
#define BOTH_STOPPED                                                                             \
	N_("both copies are stopped and the destination's never ran: it is removed, and the VM " \
	   "goes on at the source")
#define UNDER_WAY N_("a migration is under way")
#define WAIT_FOR_IT                                                                          \
	N_("Wait for its end, or cancel it where it was started (watari cancel), or at the " \
	   "source (virsh domjobabort).")
#define HELD_THERE                                                                             \
	N_("the VM runs at the source, and a copy at the destination is paused, but not by a " \
	   "migration")
#define WHAT_IS_IT N_("Find out what that copy is. Never continue it while the other one runs.")
#define WHO_PAUSED \
	N_("Find out who paused it (virsh domstate --reason), then continue it (virsh resume).")

static const struct {
	enum seen source, destination;
	struct ending_rule rule;
} rules[] = {
	{ RUNS, RUNS, { "both-run", ENDING_NOTHING, MOVE_ATTENTION, false, RUN_AT_BOTH, END_ONE } },
	{ RUNS_BUSY,
	  RUNS,
	  { "both-run", ENDING_NOTHING, MOVE_ATTENTION, true, RUN_AT_BOTH, END_ONE } },
	{ UNKNOWN,
	  ANY,
	  { "source-unknown", ENDING_NOTHING, MOVE_ATTENTION, false,
	    N_("the source host does not answer, so nothing was done"), LOOK_AGAIN } },
	{ ANY,
	  UNKNOWN,
	  { "destination-unknown", ENDING_NOTHING, MOVE_ATTENTION, false,
	    N_("the destination host does not answer, so nothing was done"), LOOK_AGAIN } },
	{ PARTIAL,
	  RUNS,
	  { "handed-over", ENDING_END_SOURCE, MOVE_MIGRATED, true, HANDED_OVER, NULL } },
	{ PARTIAL,
	  GONE,
	  { "post-copy-lost", ENDING_NOTHING, MOVE_ATTENTION, true,
	    N_("post-copy had begun, and the destination's copy is gone: the source has the memory "
	       "as it was at the switch, but the VM may have run and written since"),
	    N_("Copy the disks before anything else. Then continue the VM at the source (virsh "
	       "resume) if it never ran at the destination, or start it anew (virsh destroy, "
	       "virsh start).") } },
	{ PARTIAL,
	  ANY,
	  { "post-copy", ENDING_NOTHING, MOVE_ATTENTION, true,
	    N_("the VM is in post-copy: the destination has a part of its memory, and the source "
	       "has the rest"),
	    N_("Never end, continue or restart either copy. If the movers still work it completes "
	       "by itself; else run “watari resolve” again, which recovers it.") } },
	{ STOPPED_BUSY,
	  ANY,
	  { "moving", ENDING_NOTHING, MOVE_ATTENTION, true, UNDER_WAY, WAIT_FOR_IT } },
	{ ANY,
	  PARTIAL,
	  { "post-copy-alone", ENDING_NOTHING, MOVE_ATTENTION, true,
	    N_("the destination's copy was in post-copy and may lack a part of its memory, and the "
	       "source no longer holds that"),
	    N_("If it stands still, only starting it anew helps (virsh destroy, virsh start); look "
	       "at both hosts first (virsh list --all).") } },
	{ GONE, RUNS, { "migrated", ENDING_NOTHING, MOVE_MIGRATED, false, NULL, NULL } },
	{ STOPPED,
	  RUNS,
	  { "handed-over", ENDING_END_SOURCE, MOVE_MIGRATED, true, HANDED_OVER, NULL } },
	{ HELD,
	  RUNS,
	  { "source-held", ENDING_NOTHING, MOVE_ATTENTION, true,
	    N_("the VM runs at the destination, and a copy at the source is paused, but not by a "
	       "migration"),
	    N_("If the copy at the source is not needed, end it there (virsh destroy). Never "
	       "continue it.") } },
	{ RUNS,
	  COMING,
	  { "destination-left", ENDING_END_DESTINATION, MOVE_FAILED, true, LEFT_THERE, NULL } },
	{ RUNS,
	  STOPPED,
	  { "destination-left", ENDING_END_DESTINATION, MOVE_FAILED, true, LEFT_THERE, NULL } },
	{ RUNS,
	  HELD,
	  { "destination-held", ENDING_NOTHING, MOVE_ATTENTION, true, HELD_THERE, WHAT_IS_IT } },
	{ RUNS_BUSY,
	  HELD,
	  { "destination-held", ENDING_NOTHING, MOVE_ATTENTION, true, HELD_THERE, WHAT_IS_IT } },
	{ RUNS_BUSY,
	  COMING,
	  { "moving", ENDING_NOTHING, MOVE_ATTENTION, true, UNDER_WAY, WAIT_FOR_IT } },
	{ RUNS_BUSY,
	  STOPPED,
	  { "moving", ENDING_NOTHING, MOVE_ATTENTION, true, UNDER_WAY, WAIT_FOR_IT } },
	{ RUNS_BUSY, GONE, { "at-source", ENDING_NOTHING, MOVE_FAILED, true, NULL, NULL } },
	{ RUNS, GONE, { "at-source", ENDING_NOTHING, MOVE_FAILED, false, NULL, NULL } },
	{ STOPPED,
	  GONE,
	  { "source-stopped", ENDING_RESUME_SOURCE, MOVE_FAILED, true,
	    N_("nothing runs at the destination; the VM goes on at the source"), NULL } },
	{ STOPPED,
	  COMING,
	  { "both-stopped", ENDING_END_DESTINATION_RESUME, MOVE_FAILED, true, BOTH_STOPPED,
	    NULL } },
	{ STOPPED,
	  STOPPED,
	  { "both-stopped", ENDING_END_DESTINATION_RESUME, MOVE_FAILED, true, BOTH_STOPPED,
	    NULL } },
	{ HELD,
	  GONE,
	  { "source-held", ENDING_NOTHING, MOVE_ATTENTION, true,
	    N_("the VM is paused at the source, but not by a migration"), WHO_PAUSED } },
	{ HELD,
	  HELD,
	  { "both-held", ENDING_NOTHING, MOVE_ATTENTION, true,
	    N_("a copy of the VM is paused at each host, and not by a migration"),
	    N_("If the VM was paused when it was moved, both hold the same memory; else find out "
	       "which of them ran last. End the other one (virsh destroy), never continue "
	       "both.") } },
	{ HELD,
	  ANY,
	  { "source-held", ENDING_NOTHING, MOVE_ATTENTION, true,
	    N_("the VM is paused at the source, but not by a migration, and a stopped copy is left "
	       "at the destination"),
	    N_("Find out who paused it (virsh domstate --reason). Unless it ran at the destination "
	       "continue it at the source (virsh resume), then run “watari resolve”.") } },
	{ GONE,
	  COMING,
	  { "destination-stopped", ENDING_NOTHING, MOVE_ATTENTION, true,
	    N_("the source's copy is gone, and the destination's has not been started"),
	    N_("If the VM ended at the source by itself, end what is at the destination (virsh "
	       "destroy).") } },
	{ GONE,
	  STOPPED,
	  { "destination-stopped", ENDING_NOTHING, MOVE_ATTENTION, true,
	    N_("the source's copy is gone, and the destination's is stopped"),
	    N_("It holds the only memory of the VM: continue it there (virsh resume).") } },
	{ GONE,
	  HELD,
	  { "migrated-paused", ENDING_NOTHING, MOVE_ATTENTION, true,
	    N_("the VM is at the destination, and paused there"), WHO_PAUSED } },
	{ COMING,
	  ANY,
	  { "moving", ENDING_NOTHING, MOVE_ATTENTION, true,
	    N_("another migration brings the VM to the source"), N_("Wait for its end.") } },
	{ ANY,
	  ANY,
	  { "nowhere", ENDING_NOTHING, MOVE_ATTENTION, true, N_("the VM runs at neither host"),
	    N_("It may have ended by itself: see the guest's own log and /var/log/libvirt/qemu at "
	       "both hosts. Then say whether it ran at the destination: “watari resolve --ran VM” "
	       "or “watari resolve --never-ran VM” cleans up what the move left.") } },
};

/* A VM that ended where it was, by its own will or a person's: nothing is to be continued. */
static const struct ending_rule ended_at_source = {
	ENDING_ENDED_AT_SOURCE,
	ENDING_NOTHING,
	MOVE_FAILED,
	true,
	N_("the VM ended at the source during the move"),
	N_("Start it where it was, or move it while it is off (--offline).")
};
static const struct ending_rule ended_and_left = {
	ENDING_ENDED_AT_SOURCE,
	ENDING_END_DESTINATION,
	MOVE_FAILED,
	true,
	N_("the VM ended at the source during the move"),
	N_("Start it where it was, or move it while it is off (--offline).")
};
static const struct ending_rule ended_there = {
	"ended-there",
	ENDING_NOTHING,
	MOVE_MIGRATED,
	true,
	N_("the VM moved to the destination, and has ended there since"),
	NULL
};

/* Off long after its move: that is no business of the move's. */
static const struct ending_rule over_at_source = {
	"over", ENDING_NOTHING, MOVE_FAILED, false, N_("the move is over, and the VM is off"), NULL
};
static const struct ending_rule over_at_destination = {
	"over", ENDING_NOTHING, MOVE_MIGRATED, false, N_("the move is over, and the VM is off"),
	NULL
};

static const struct ending_rule moves_elsewhere = {
	"moving",
	ENDING_NOTHING,
	MOVE_ATTENTION,
	true,
	N_("the VM is being moved, by a program elsewhere"),
	N_("Wait for its end, or cancel it where it was started (watari cancel). If that program "
	   "is dead, its movers end by themselves when their link does; then run “watari resolve” "
	   "again.")
};

/* Both were paused by a person, one of them before the move. */
static const struct ending_rule paused_twice = {
	"both-paused",
	ENDING_NOTHING,
	MOVE_ATTENTION,
	true,
	N_("the VM was paused before the move, and is paused at both hosts with the same memory: "
	   "it was handed over, but the answer was lost"),
	N_("End the copy at the source (virsh destroy), then run “watari resolve”. Never continue "
	   "both.")
};

/* What else follows where the source is stopped by the migration, and the destination may have run the VM:
 * going on there would be going on with memory that is older than the disks. */
static const struct ending_rule may_have_run = {
	"may-have-run",
	ENDING_NOTHING,
	MOVE_ATTENTION,
	true,
	N_("the VM is not at the destination now, but it may have run there and ended: then the "
	   "memory of the stopped copy at the source is older than the disks, and going on with it "
	   "would damage them"),
	N_("See whether it ran there (/var/log/libvirt/qemu at the destination, the guest's own "
	   "log). If it did: “watari resolve --ran VM”, which ends the stopped copy at the source. "
	   "If it certainly did not: “watari resolve --never-ran VM”, which lets it go on.")
};
static const struct ending_rule may_have_stopped = {
	"may-have-run",
	ENDING_NOTHING,
	MOVE_ATTENTION,
	true,
	N_("both copies are stopped, and the destination's may have run: then its memory is the "
	   "newer one"),
	N_("If it ran, continue it there (virsh resume), then run “watari resolve”. If it "
	   "certainly did not: “watari resolve --never-ran VM”, which removes it and lets the VM "
	   "go on at the source.")
};
static const struct ending_rule started_there = {
	"started-there",
	ENDING_NOTHING,
	MOVE_ATTENTION,
	true,
	N_("the VM was started at the destination and is paused there; its memory is newer than "
	   "that of the stopped copy at the source"),
	N_("Continue it at the destination (virsh resume), then run “watari resolve”.")
};
/* libvirt there destroys what it may still have as soon as its client is gone, and only Finish would have
 * started it. */
static const struct ending_rule source_alone = {
	"source-alone",
	ENDING_RESUME_SOURCE_ALONE,
	MOVE_FAILED,
	true,
	N_("the destination does not answer, but libvirt there was never told to start the VM: it "
	   "goes on at the source"),
	N_("When the destination can be reached again, run “watari resolve”: it removes what is "
	   "left there.")
};
static const struct ending_rule ran_there = {
	"ran-there",
	ENDING_END_STALE,
	MOVE_MIGRATED,
	true,
	N_("the VM ran at the destination and ended there; the stopped copy at the source is "
	   "ended"),
	NULL
};

/* Of a copy that arrives: any other reason comes after the start. */
bool ending_is_never_started(const struct host_vm *vm)
{
	return vm->reason == VIR_DOMAIN_PAUSED_MIGRATION ||
	       vm->reason == VIR_DOMAIN_PAUSED_STARTING_UP;
}

static bool is_stopped_by_migration(const struct host_vm *vm)
{
	return vm->state == HOST_VM_PAUSED && ending_is_never_started(vm);
}

static bool is_paused_by_others(const struct ending_sight *sight, enum move_side side)
{
	const struct host_vm *vm = &sight->vms[side];
	return sight->known[side] && vm->state == HOST_VM_PAUSED && !is_stopped_by_migration(vm);
}

/* A VM that was paused before is whole where it is paused again, unless the other copy runs. When both are
 * paused, the destination's is the one that was handed over, and the source's may not be taken for it. */
static bool is_paused_as_before(const struct ending_sight *sight, enum move_side side)
{
	enum move_side other = !side;
	bool runs = sight->known[other] && sight->vms[other].state == HOST_VM_RUNNING;
	if (!sight->paused_before || runs || !is_paused_by_others(sight, side))
		return false;
	return side == MOVE_DESTINATION || !is_paused_by_others(sight, MOVE_DESTINATION);
}

/* In post-copy, or broken in it. Where this is known from elsewhere, libvirt may not have noticed yet. */
static bool is_partial(const struct ending_sight *sight, enum move_side side)
{
	const struct host_vm *vm = &sight->vms[side];
	if (vm->state == HOST_VM_RUNNING)
		return vm->reason == VIR_DOMAIN_RUNNING_POSTCOPY ||
		       vm->reason == VIR_DOMAIN_RUNNING_POSTCOPY_FAILED;
	if (vm->state != HOST_VM_PAUSED && vm->state != HOST_VM_INCOMING)
		return false;
	return vm->reason == VIR_DOMAIN_PAUSED_POSTCOPY ||
	       vm->reason == VIR_DOMAIN_PAUSED_POSTCOPY_FAILED ||
	       (sight->postcopy && is_stopped_by_migration(vm));
}

/* Only that reason says that all memory has come. */
static bool is_complete(const struct host_vm *vm)
{
	return vm->state == HOST_VM_RUNNING && vm->reason == VIR_DOMAIN_RUNNING_MIGRATED;
}

/* The stop that was asked for came when the migration was over already. */
static bool is_suspended_by_us(const struct ending_sight *sight, enum move_side side)
{
	const struct host_vm *vm = &sight->vms[side];
	return side == MOVE_SOURCE && sight->suspended && !sight->paused_before &&
	       vm->state == HOST_VM_PAUSED && vm->reason == VIR_DOMAIN_PAUSED_USER;
}

static enum seen see_live(const struct ending_sight *sight, enum move_side side)
{
	static const enum seen of_state[] = {
		[HOST_VM_ABSENT] = GONE, [HOST_VM_OFF] = OFF,         [HOST_VM_RUNNING] = RUNS,
		[HOST_VM_PAUSED] = HELD, [HOST_VM_INCOMING] = COMING,
	};
	const struct host_vm *vm = &sight->vms[side];
	if (!sight->known[side])
		return UNKNOWN;
	if (is_partial(sight, side))
		return PARTIAL;
	if (is_stopped_by_migration(vm) || is_suspended_by_us(sight, side))
		return side == MOVE_SOURCE && sight->foreign_job ? STOPPED_BUSY : STOPPED;
	if (is_paused_as_before(sight, side))
		return vm->busy && side == MOVE_SOURCE ? RUNS_BUSY : RUNS;
	if (vm->state == HOST_VM_RUNNING && vm->busy && side == MOVE_SOURCE)
		return RUNS_BUSY;
	if (vm->state == HOST_VM_INCOMING && !ending_is_never_started(vm))
		return HELD;
	return of_state[vm->state];
}

/* NULL: whether it ran there is no question. */
static const struct ending_rule *judge_stale(const struct ending_sight *sight, enum seen source,
					     enum seen destination)
{
	if (source != STOPPED)
		return NULL;
	if (destination == HELD)
		return &started_there;
	if (sight->ran == ENDING_RAN_NEVER)
		return NULL;
	switch (destination) {
	case STOPPED:
		return &may_have_stopped;
	case GONE:
	case OFF:
		return sight->ran == ENDING_RAN_ONCE ? &ran_there : &may_have_run;
	default:
		return NULL;
	}
}

/* NULL: both hosts are needed, or it may have run. */
static const struct ending_rule *judge_alone(const struct ending_sight *sight, enum seen source,
					     enum seen destination)
{
	bool proven = sight->never_starts && sight->ran == ENDING_RAN_NEVER;
	return proven && source == STOPPED && destination == UNKNOWN ? &source_alone : NULL;
}

bool ending_is_alone(const struct ending_rule *rule)
{
	return rule == &source_alone;
}

bool ending_is_unproven(const struct ending_rule *rule)
{
	return rule == &may_have_run || rule == &may_have_stopped;
}

static bool matches(enum seen rule, enum seen seen)
{
	return rule == ANY || rule == seen || (rule == GONE && seen == OFF);
}

/* NULL: it did not end, or where is not known. */
static const struct ending_rule *judge_ended(const struct ending_sight *sight, enum seen source,
					     enum seen destination)
{
	if (!matches(GONE, source))
		return NULL;
	if (sight->closed != ENDING_OPEN && matches(GONE, destination))
		return sight->closed == ENDING_CLOSED_AT_SOURCE ? &over_at_source
								: &over_at_destination;
	if (sight->ran == ENDING_RAN_ONCE)
		return matches(GONE, destination) ? &ended_there : NULL;
	if (sight->ran == ENDING_RAN_MAYBE)
		return NULL;
	return matches(GONE, destination) ? &ended_at_source
	       : destination == COMING    ? &ended_and_left
					  : NULL;
}

static const struct ending_rule *judge_paused_twice(const struct ending_sight *sight)
{
	for (int side = 0; side < MOVE_SIDES; side++)
		if (!is_paused_by_others(sight, side))
			return NULL;
	return sight->paused_before ? &paused_twice : NULL;
}

const struct ending_rule *ending_judge(const struct ending_sight *sight)
{
	if (sight->offline)
		return ending_judge_offline(sight);
	if (sight->through != THROUGH_NONE)
		return ending_judge_through(sight);
	enum seen source = see_live(sight, MOVE_SOURCE);
	enum seen destination = see_live(sight, MOVE_DESTINATION);
	if (source == PARTIAL && destination == RUNS && !is_complete(&sight->vms[MOVE_DESTINATION]))
		destination = PARTIAL;
	const struct ending_rule *rule = judge_stale(sight, source, destination);
	if (!rule)
		rule = judge_alone(sight, source, destination);
	if (!rule)
		rule = judge_ended(sight, source, destination);
	if (!rule)
		rule = judge_paused_twice(sight);
	if (rule)
		return rule;
	for (size_t i = 0; i + 1 < G_N_ELEMENTS(rules); i++)
		if (matches(rules[i].source, source) && matches(rules[i].destination, destination))
			return &rules[i].rule;
	return &rules[G_N_ELEMENTS(rules) - 1].rule;
}

static bool has_failed(const struct host_vm *vm)
{
	if (vm->state == HOST_VM_RUNNING)
		return vm->reason == VIR_DOMAIN_RUNNING_POSTCOPY_FAILED;
	return (vm->state == HOST_VM_PAUSED || vm->state == HOST_VM_INCOMING) &&
	       vm->reason == VIR_DOMAIN_PAUSED_POSTCOPY_FAILED;
}

bool ending_postcopy_failed(const struct ending_sight *sight)
{
	bool failed = true;
	for (int side = 0; side < MOVE_SIDES; side++)
		failed = failed && sight->known[side] && has_failed(&sight->vms[side]);
	return failed;
}

const char *ending_state_name(const struct ending_sight *sight, enum move_side side)
{
	return sight->known[side] ? host_vm_state_name(sight->vms[side].state) : "unknown";
}

void ending_sight_clear(struct ending_sight *sight)
{
	for (int side = 0; side < MOVE_SIDES; side++)
		g_clear_error(&sight->errors[side]);
}

const char *ending_what(const struct ending_rule *rule, const struct ending_sight *sight)
{
	static const char *const ends[] = {
		[VIR_DOMAIN_SHUTOFF_SHUTDOWN] =
			N_("the VM shut itself down at the source during the move"),
		[VIR_DOMAIN_SHUTOFF_DESTROYED] =
			N_("somebody ended the VM at the source during the move"),
		[VIR_DOMAIN_SHUTOFF_CRASHED] = N_("the VM crashed at the source during the move"),
	};
	const struct host_vm *source = &sight->vms[MOVE_SOURCE];
	const char *what = rule->what;
	if (g_str_equal(rule->name, ENDING_ENDED_AT_SOURCE) && source->state == HOST_VM_OFF &&
	    source->reason >= 0 && (size_t) source->reason < G_N_ELEMENTS(ends) &&
	    ends[source->reason])
		what = ends[source->reason];
	return what ? _(what) : NULL;
}

const struct ending_rule *ending_rule_moving(void)
{
	return &moves_elsewhere;
}

const struct ending_rule *ending_rule_at(size_t index)
{
	static const struct ending_rule *const others[] = {
		&may_have_run,    &may_have_stopped,    &started_there,   &ran_there,
		&ended_at_source, &ended_and_left,      &ended_there,     &paused_twice,
		&over_at_source,  &over_at_destination, &moves_elsewhere, &source_alone,
	};
	if (index < G_N_ELEMENTS(rules))
		return &rules[index].rule;
	index -= G_N_ELEMENTS(rules);
	return index < G_N_ELEMENTS(others) ? others[index] : NULL;
}
