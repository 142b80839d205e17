/* SPDX-License-Identifier: Apache-2.0 */
/* The situations that the move of a VM that is off can leave. It is defined at the destination only
 * when its disks are proven to be there, so a definition there means that they are. */
#include "conductor/endings/ending.h"

#include "base/i18n.h"

enum seen { ANY, UNKNOWN, GONE, OFF, ACTIVE };

#define DEFINED                                                                                    \
	N_("the VM is defined at the destination; its definition at the source goes, if that was " \
	   "asked "                                                                                \
	   "for")

static const struct {
	enum seen source, destination;
	struct ending_rule rule;
} rules[] = {
	{ UNKNOWN,
	  ANY,
	  { "source-unknown", ENDING_NOTHING, MOVE_ATTENTION, false,
	    N_("the source host does not answer, so nothing was done"),
	    N_("When it can be reached again, run “watari resolve”.") } },
	{ ANY,
	  UNKNOWN,
	  { "destination-unknown", ENDING_NOTHING, MOVE_ATTENTION, false,
	    N_("the destination host does not answer, so nothing was done"),
	    N_("When it can be reached again, run “watari resolve”.") } },
	{ OFF, GONE, { "at-source", ENDING_NOTHING, MOVE_FAILED, false, NULL, NULL } },
	{ ACTIVE, GONE, { "at-source", ENDING_NOTHING, MOVE_FAILED, false, NULL, NULL } },
	{ GONE, OFF, { "migrated", ENDING_NOTHING, MOVE_MIGRATED, false, NULL, NULL } },
	{ GONE, ACTIVE, { "migrated", ENDING_NOTHING, MOVE_MIGRATED, false, NULL, NULL } },
	{ OFF, OFF, { "defined", ENDING_UNDEFINE_SOURCE, MOVE_MIGRATED, false, DEFINED, NULL } },
	{ OFF, ACTIVE, { "defined", ENDING_UNDEFINE_SOURCE, MOVE_MIGRATED, false, DEFINED, NULL } },
	{ ACTIVE,
	  ACTIVE,
	  { "both-run", ENDING_NOTHING, MOVE_ATTENTION, false,
	    N_("the VM runs at BOTH hosts: its disks are in danger"),
	    N_("Find out which copy the users reach, and end the other one at once (virsh "
	       "destroy). Nothing was done.") } },
	{ ACTIVE,
	  OFF,
	  { "source-started", ENDING_NOTHING, MOVE_ATTENTION, false,
	    N_("somebody started the VM at the source when it was defined at the destination "
	       "already"),
	    N_("Keep one: undefine it at the destination (virsh undefine) and remove its images "
	       "there, or shut it down at the source and run “watari resolve”.") } },
	{ ANY,
	  ANY,
	  { "nowhere", ENDING_NOTHING, MOVE_ATTENTION, false,
	    N_("neither host knows the VM any more"),
	    N_("Somebody has removed its definition: see “virsh list --all” at both hosts.") } },
};

static enum seen see_offline(const struct ending_sight *sight, enum move_side side)
{
	bool at_source =
		sight->known[MOVE_SOURCE] && sight->vms[MOVE_SOURCE].state != HOST_VM_ABSENT;
	/* whatever is there, it is not of this move, so its host need not answer */
	if (side == MOVE_DESTINATION && !sight->defined && at_source)
		return GONE;
	if (!sight->known[side])
		return UNKNOWN;
	return sight->vms[side].state == HOST_VM_ABSENT ? GONE
	       : sight->vms[side].state == HOST_VM_OFF  ? OFF
							: ACTIVE;
}

const struct ending_rule *ending_judge_offline(const struct ending_sight *sight)
{
	enum seen source = see_offline(sight, MOVE_SOURCE);
	enum seen destination = see_offline(sight, MOVE_DESTINATION);
	for (size_t i = 0; i + 1 < G_N_ELEMENTS(rules); i++)
		if ((rules[i].source == ANY || rules[i].source == source) &&
		    (rules[i].destination == ANY || rules[i].destination == destination))
			return &rules[i].rule;
	return &rules[G_N_ELEMENTS(rules) - 1].rule;
}

const struct ending_rule *ending_rule_at_offline(size_t index)
{
	return index < G_N_ELEMENTS(rules) ? &rules[index].rule : NULL;
}
