/* SPDX-License-Identifier: Apache-2.0 */
/* The situations that a move through a directory can leave: what both hosts show, and how far it had
 * come (through.h). A copy that was restored is paused until RESUMED is written down, so before that it
 * has not run, whatever else happened. */
#include "conductor/endings/ending.h"

#include "base/i18n.h"

enum seen { ANY, UNKNOWN, GONE, OFF, RUNS, STOPPED }; /* a rule's GONE is OFF, too */

enum {
	AT_SOURCE = 1 << THROUGH_BEFORE | 1 << THROUGH_STOPPED,
	LEFT = 1 << THROUGH_LEFT,
	RESUMED = 1 << THROUGH_RESUMED,
	BACK = 1 << THROUGH_BACK,
	RESTORED = 1 << THROUGH_RESTORED,
	ALL = AT_SOURCE | LEFT | RESUMED | BACK | RESTORED,
};

#define LOOK_AGAIN N_("When it can be reached again, run “watari resolve”.")
#define GOES_ON N_("nothing runs at the destination; the VM goes on at the source")

static const struct {
	unsigned stages;
	enum seen source, destination;
	struct ending_rule rule;
} rules[] = {
	{ ALL,
	  RUNS,
	  RUNS,
	  { "both-run", ENDING_NOTHING, MOVE_ATTENTION, false,
	    N_("the VM runs at BOTH hosts: its disks are in danger"),
	    N_("Find out which copy the users reach, and end the other one at once (virsh "
	       "destroy). Nothing was done.") } },
	{ LEFT | RESUMED | BACK,
	  STOPPED,
	  RUNS,
	  { "handed-over", ENDING_END_SOURCE, MOVE_MIGRATED, true,
	    N_("the VM runs at the destination; the stopped copy at the source is ended"), NULL } },
	/* Whoever started it there: going on beside it would be a second copy. */
	{ ALL,
	  STOPPED,
	  RUNS,
	  { "started-elsewhere", ENDING_NOTHING, MOVE_ATTENTION, true,
	    N_("the VM runs at the destination, where this move did not start it, and is stopped "
	       "at the source"),
	    N_("Find out who started it there. Keep one of the two, and end the other one (virsh "
	       "destroy).") } },
	/* The destination has not been asked for anything yet. */
	{ AT_SOURCE,
	  GONE,
	  GONE,
	  { ENDING_ENDED_AT_SOURCE, ENDING_NOTHING, MOVE_FAILED, false,
	    N_("the VM ended at the source during the move"),
	    N_("Start it where it was, or move it while it is off (--offline).") } },
	{ AT_SOURCE, RUNS, ANY, { "at-source", ENDING_NOTHING, MOVE_FAILED, false, NULL, NULL } },
	{ AT_SOURCE,
	  STOPPED,
	  ANY,
	  { "source-stopped", ENDING_RESUME_SOURCE_ALONE, MOVE_FAILED, false, GOES_ON, NULL } },
	{ ALL,
	  UNKNOWN,
	  ANY,
	  { "source-unknown", ENDING_NOTHING, MOVE_ATTENTION, false,
	    N_("the source host does not answer, so nothing was done"), LOOK_AGAIN } },
	{ ALL,
	  ANY,
	  UNKNOWN,
	  { "destination-unknown", ENDING_NOTHING, MOVE_ATTENTION, false,
	    N_("the destination host does not answer, so nothing was done: the VM may be there"),
	    N_("When it can be reached again, run “watari resolve”. Until then restore nothing "
	       "from the saved state.") } },
	{ LEFT | BACK | RESTORED,
	  STOPPED,
	  GONE,
	  { "source-stopped", ENDING_RESUME_SOURCE, MOVE_FAILED, true, GOES_ON, NULL } },
	{ LEFT | BACK | RESTORED,
	  STOPPED,
	  STOPPED,
	  { "both-stopped", ENDING_END_DESTINATION_RESUME, MOVE_FAILED, true,
	    N_("both copies are stopped and the destination's never ran: it is removed, and the VM "
	       "goes on at the source"),
	    NULL } },
	{ LEFT | BACK | RESTORED,
	  RUNS,
	  STOPPED,
	  { "destination-left", ENDING_END_DESTINATION, MOVE_FAILED, true,
	    N_("the VM runs at the source; what was left at the destination is removed"), NULL } },
	{ LEFT | BACK | RESTORED,
	  RUNS,
	  GONE,
	  { "at-source", ENDING_NOTHING, MOVE_FAILED, false, NULL, NULL } },
	{ LEFT | BACK,
	  GONE,
	  GONE,
	  { "state-saved", ENDING_RESTORE_SOURCE, MOVE_FAILED, true,
	    N_("nothing is at the destination; the VM goes on at the source from its saved state"),
	    NULL } },
	{ BACK,
	  GONE,
	  STOPPED,
	  { "destination-failed", ENDING_END_DESTINATION_RESTORE, MOVE_FAILED, true,
	    N_("the copy at the destination never ran: it is removed, and the VM goes on at the "
	       "source from its saved state"),
	    NULL } },
	{ LEFT,
	  GONE,
	  STOPPED,
	  { "destination-restored", ENDING_RESUME_DESTINATION, MOVE_MIGRATED, true,
	    N_("the VM is restored at the destination, and goes on there"), NULL } },
	{ LEFT | RESUMED | BACK,
	  OFF,
	  RUNS,
	  { "migrated", ENDING_UNDEFINE_SOURCE, MOVE_MIGRATED, false, NULL, NULL } },
	{ LEFT | RESUMED | BACK,
	  GONE,
	  RUNS,
	  { "migrated", ENDING_NOTHING, MOVE_MIGRATED, false, NULL, NULL } },
	{ RESUMED,
	  GONE,
	  STOPPED,
	  { "destination-stopped", ENDING_NOTHING, MOVE_ATTENTION, true,
	    N_("the VM is at the destination and stands still, and may have run there"),
	    N_("It holds the only memory of the VM: continue it there (virsh resume).") } },
	{ RESUMED,
	  GONE,
	  GONE,
	  { "destination-ended", ENDING_NOTHING, MOVE_ATTENTION, false,
	    N_("the VM went on at the destination, and is not there any more"),
	    N_("Its disks are newer than the saved state: do not restore from that. See "
	       "/var/log/libvirt/qemu at the destination, then start the VM there.") } },
	{ RESUMED,
	  RUNS,
	  GONE,
	  { "back-at-source", ENDING_NOTHING, MOVE_FAILED, false,
	    N_("the VM had gone on at the destination, and was brought back: it runs at the "
	       "source"),
	    NULL } },
	{ RESUMED,
	  STOPPED,
	  GONE,
	  { "source-stale", ENDING_NOTHING, MOVE_ATTENTION, true,
	    N_("the VM had gone on at the destination and is not there any more; what stands still "
	       "at the source may be older than the disks"),
	    N_("Continue it only if you know that it was moved back. If it was restored from the "
	       "saved state, end it (virsh destroy) and start the VM anew.") } },
	{ RESTORED,
	  GONE,
	  GONE,
	  { "source-ended", ENDING_NOTHING, MOVE_ATTENTION, false,
	    N_("the VM was restored at the source, and is not there any more"),
	    N_("It may have gone on and ended, and then its disks are newer than the saved state: "
	       "do not restore from that. See /var/log/libvirt/qemu at the source, then start the "
	       "VM there.") } },
	{ ALL,
	  ANY,
	  RUNS,
	  { "started-elsewhere", ENDING_NOTHING, MOVE_ATTENTION, true,
	    N_("the VM runs at the destination, where this move did not start it"),
	    N_("Find out who started it there. The saved state may be older than its disks.") } },
	{ ALL,
	  RUNS,
	  ANY,
	  { "destination-held", ENDING_NOTHING, MOVE_ATTENTION, true,
	    N_("the VM runs at the source, and a copy at the destination is paused"),
	    N_("Find out what that copy is. Never continue it while the other one runs.") } },
	{ ALL,
	  STOPPED,
	  STOPPED,
	  { "both-held", ENDING_NOTHING, MOVE_ATTENTION, true,
	    N_("a copy of the VM stands still at each host, and that at the destination may have "
	       "run"),
	    N_("Find out which of them ran last, and end the other one (virsh destroy). Never "
	       "continue both.") } },
	{ ALL,
	  GONE,
	  STOPPED,
	  { "destination-held", ENDING_NOTHING, MOVE_ATTENTION, true,
	    N_("a copy of the VM stands still at the destination, where this move did not restore "
	       "it"),
	    N_("Find out what it is, and who restored it.") } },
	{ ALL,
	  ANY,
	  ANY,
	  { "nowhere", ENDING_NOTHING, MOVE_ATTENTION, true, N_("the VM runs at neither host"),
	    N_("It may have ended by itself during the move: see the guest's own log and "
	       "/var/log/libvirt/qemu at both hosts.") } },
};

/* One that was paused before is whole where it is paused again: at the destination once that was written
 * down, and else at the source. A copy that stands still is never said to run beside another one. */
static enum seen see_through(const struct ending_sight *sight, enum move_side side)
{
	enum host_vm_state state = sight->vms[side].state;
	enum host_vm_state other = sight->known[!side] ? sight->vms[!side].state : HOST_VM_ABSENT;
	bool as_before = side == MOVE_DESTINATION
				 ? sight->through == THROUGH_RESUMED && other != HOST_VM_RUNNING
				 : other != HOST_VM_RUNNING && (sight->through != THROUGH_RESUMED ||
								other != HOST_VM_PAUSED);
	if (!sight->known[side])
		return UNKNOWN;
	if (state == HOST_VM_PAUSED && sight->paused_before && as_before)
		return RUNS;
	return state == HOST_VM_ABSENT    ? GONE
	       : state == HOST_VM_OFF     ? OFF
	       : state == HOST_VM_RUNNING ? RUNS
					  : STOPPED;
}

static bool matches_through(enum seen rule, enum seen seen)
{
	return rule == ANY || rule == seen || (rule == GONE && seen == OFF);
}

const struct ending_rule *ending_judge_through(const struct ending_sight *sight)
{
	enum seen source = see_through(sight, MOVE_SOURCE);
	enum seen destination = see_through(sight, MOVE_DESTINATION);
	for (size_t i = 0; i + 1 < G_N_ELEMENTS(rules); i++)
		if (rules[i].stages & 1U << sight->through &&
		    matches_through(rules[i].source, source) &&
		    matches_through(rules[i].destination, destination))
			return &rules[i].rule;
	return &rules[G_N_ELEMENTS(rules) - 1].rule;
}

const struct ending_rule *ending_rule_at_through(size_t index)
{
	return index < G_N_ELEMENTS(rules) ? &rules[index].rule : NULL;
}
