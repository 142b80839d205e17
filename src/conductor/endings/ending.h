/* SPDX-License-Identifier: Apache-2.0 */
/* Where the VM is after a move, and what is left to do: shared by the move's end and by
 * `watari resolve`. The state is asked from both hosts afresh
 * and never assumed. A table of situations says what follows.
 */
#pragma once
#include "host/host.h"
#include "conductor/core/end_facts.h"
#include "conductor/core/report.h"

/* How far a move through a directory had come (through.h); NONE: it goes over the link. */
enum ending_through {
	THROUGH_NONE,
	THROUGH_BEFORE,  /* the VM is as it was */
	THROUGH_STOPPED, /* stopped at the source by us */
	THROUGH_LEFT, /* its state is proven at the destination; the source's copy is being ended */
	THROUGH_RESUMED,  /* it may have run at the destination */
	THROUGH_BACK,     /* the destination failed for certain, and never ran it */
	THROUGH_RESTORED, /* from the state, at the source: it may have run there */
	THROUGH_LAST
};

/* One look at both hosts. */
struct ending_sight {
	bool known[MOVE_SIDES];
	struct host_vm vms[MOVE_SIDES];
	GError *errors[MOVE_SIDES]; /* why it is not known */
	bool offline; /* the VM was off, and `defined`: its definition may be at the destination */
	bool defined;
	bool postcopy; /* the switch to post-copy was seen */
	enum ending_ran ran;
	bool never_starts; /* proven, by more than a person's word: nobody can start it there any more */
	enum ending_closed closed;
	enum ending_through through;
	bool suspended;     /* this very move asked for the stop */
	bool foreign_job;   /* the source's job is somebody else's, and not proven to be dead */
	bool paused_before; /* somebody had paused it: then paused is what it should be again */
};

enum ending_action {
	ENDING_NOTHING,
	ENDING_RESUME_SOURCE,
	ENDING_RESUME_SOURCE_ALONE, /* the destination was not asked for anything: need not answer */
	ENDING_END_SOURCE,          /* the destination has taken over */
	ENDING_END_STALE,       /* the VM has ended at the destination since, and is newer there */
	ENDING_END_DESTINATION, /* what is left there never ran */
	ENDING_END_DESTINATION_RESUME, /* and then the source goes on */
	ENDING_UNDEFINE_SOURCE,        /* of a VM that is off; only if it shall leave */
	/* from the saved state of a move through a directory */
	ENDING_RESTORE_SOURCE,          /* paused; then, written down, ENDING_RESUME_SOURCE */
	ENDING_END_DESTINATION_RESTORE, /* first what never ran there is removed */
	ENDING_RESUME_DESTINATION,
	ENDING_ACTION_LAST
};

struct ending_rule {
	const char *name; /* stable word of the situation */
	enum ending_action action;
	enum move_outcome outcome; /* after the action worked */
	bool unstable;    /* libvirt may still be at work: look again for a while before acting */
	const char *what; /* for a person, marked with N_() */
	const char *next; /* marked with N_(), or NULL */
};

/* The rule for SIGHT. Never NULL. */
const struct ending_rule *ending_judge(const struct ending_sight *sight);
/* The name of those for a VM that ended where it was. */
#define ENDING_ENDED_AT_SOURCE "ended-at-source"
/* For a person, translated: what RULE says, and of a VM that ended by what. NULL: nothing. */
const char *ending_what(const struct ending_rule *rule, const struct ending_sight *sight);
/* The destination does not answer, and need not. */
bool ending_is_alone(const struct ending_rule *rule);
/* Somebody else's move of the VM lives: nothing is done. */
const struct ending_rule *ending_rule_moving(void);
/* Each rule that there is, in any order, for whoever checks them all; NULL: INDEX is behind the last. */
const struct ending_rule *ending_rule_at(size_t index);
const struct ending_rule *ending_rule_at_offline(size_t index);
const struct ending_rule *ending_rule_at_through(size_t index);
/* Of a copy that is stopped: a migration did it, or it has not been started since it arrives. */
bool ending_is_never_started(const struct host_vm *vm);
/* It rests on this alone: that nobody can prove whether the VM ran at the destination. */
bool ending_is_unproven(const struct ending_rule *rule);
/* Both sides are known to have failed in post-copy. */
bool ending_postcopy_failed(const struct ending_sight *sight);
/* For a VM that was off (ending_offline.c); ending_judge() asks it. */
const struct ending_rule *ending_judge_offline(const struct ending_sight *sight);

/* For a move through a directory (ending_through.c); ending_judge() asks it. */
const struct ending_rule *ending_judge_through(const struct ending_sight *sight);

/* Two hosts, connected afresh whenever they must be asked. */
struct ending {
	const struct remote_shell *shell;
	const struct host_address *addresses[MOVE_SIDES];
	const char *uuid, *name;
	const char *host_uuids[MOVE_SIDES]; /* which machines they are; NULL: not known */
	bool undefine_source;               /* once the VM runs at the destination */
	const char *state;                  /* path of the saved state; NULL: none */
	bool paused_before;
	bool was_off; /* and is moved like that */
	/* Connections of the caller's that still work, or NULL: used until one of them fails. They
	 * must not be guarded any more. */
	struct host *borrowed[MOVE_SIDES];
	/* its own */
	struct guard *guards[MOVE_SIDES];
	struct host *hosts[MOVE_SIDES];
};

/* Ask both hosts once. Blocks; may be called from any one thread at a time. */
void ending_look(struct ending *ending, struct ending_sight *sight);
/* Carry out the action of the rule for SEEN, if both copies are still as they were seen. Blocks. False with
 * WATARI_ERROR_ATTENTION, also where a host that is needed has not been reached. */
bool ending_act(struct ending *ending, enum ending_action action, const struct ending_sight *seen,
		GError **error);
/* The VM goes on at the source by it, from the memory that it has there. */
bool ending_resumes_source(enum ending_action action);
/* The VM at the destination gets a definition: the source's, or its own as it runs. WATARI_ERROR_ATTENTION. */
bool ending_define(struct ending *ending, GError **error);
/* Close what is open; ENDING itself stays the caller's. */
void ending_close(struct ending *ending);
void ending_sight_clear(struct ending_sight *sight);
/* "running", "absent", ..., or "unknown". */
const char *ending_state_name(const struct ending_sight *sight, enum move_side side);
