/* SPDX-License-Identifier: Apache-2.0 */
/* Which action follows from what both hosts say: the table that must never make two copies run and
 * never end the last one. */
#include "conductor/endings/ending.h"
#include "conductor/settle/foreign_jobs.h"

#include <string.h>

static const enum host_vm_state all_states[] = { HOST_VM_ABSENT, HOST_VM_OFF, HOST_VM_RUNNING,
						 HOST_VM_PAUSED, HOST_VM_INCOMING };

static struct ending_sight sight(enum host_vm_state source, int source_reason,
				 enum host_vm_state destination, int destination_reason)
{
	return (struct ending_sight){
		.known = { true, true },
		.vms = { { .state = source, .reason = source_reason },
			 { .state = destination, .reason = destination_reason } },
		.ran = ENDING_RAN_NEVER, /* test_ran() has the others */
	};
}

static void assert_situation(struct ending_sight seen, const char *name, enum ending_action action)
{
	const struct ending_rule *rule = ending_judge(&seen);
	g_assert_cmpstr(rule->name, ==, name);
	g_assert_cmpint(rule->action, ==, action);
}

enum { MIGRATION = VIR_DOMAIN_PAUSED_MIGRATION, USER = VIR_DOMAIN_PAUSED_USER };

static void test_known(void)
{
	assert_situation(sight(HOST_VM_ABSENT, 0, HOST_VM_RUNNING, 0), "migrated", ENDING_NOTHING);
	assert_situation(sight(HOST_VM_OFF, 0, HOST_VM_RUNNING, 0), "migrated", ENDING_NOTHING);
	assert_situation(sight(HOST_VM_RUNNING, 0, HOST_VM_ABSENT, 0), "at-source", ENDING_NOTHING);
	assert_situation(sight(HOST_VM_PAUSED, MIGRATION, HOST_VM_RUNNING, 0), "handed-over",
			 ENDING_END_SOURCE);
	assert_situation(sight(HOST_VM_PAUSED, MIGRATION, HOST_VM_ABSENT, 0), "source-stopped",
			 ENDING_RESUME_SOURCE);
	assert_situation(sight(HOST_VM_PAUSED, MIGRATION, HOST_VM_INCOMING, MIGRATION),
			 "both-stopped", ENDING_END_DESTINATION_RESUME);
	assert_situation(sight(HOST_VM_RUNNING, 0, HOST_VM_INCOMING, MIGRATION), "destination-left",
			 ENDING_END_DESTINATION);
	assert_situation(sight(HOST_VM_RUNNING, 0, HOST_VM_RUNNING, 0), "both-run", ENDING_NOTHING);
	/* a person's pause is not ours to end */
	assert_situation(sight(HOST_VM_PAUSED, USER, HOST_VM_RUNNING, 0), "source-held",
			 ENDING_NOTHING);
	assert_situation(sight(HOST_VM_PAUSED, USER, HOST_VM_ABSENT, 0), "source-held",
			 ENDING_NOTHING);
	assert_situation(sight(HOST_VM_RUNNING, 0, HOST_VM_PAUSED, USER), "destination-held",
			 ENDING_NOTHING);
}

/* In post-copy each copy may hold what the other one lacks: only a destination that libvirt calls
 * migrated has all of it. */
static void test_postcopy(void)
{
	static const int reasons[] = { VIR_DOMAIN_PAUSED_POSTCOPY,
				       VIR_DOMAIN_PAUSED_POSTCOPY_FAILED };
	for (size_t i = 0; i < G_N_ELEMENTS(reasons); i++) {
		int source = reasons[i];
		assert_situation(
			sight(HOST_VM_PAUSED, source, HOST_VM_RUNNING, VIR_DOMAIN_RUNNING_POSTCOPY),
			"post-copy", ENDING_NOTHING);
		assert_situation(sight(HOST_VM_PAUSED, source, HOST_VM_RUNNING,
				       VIR_DOMAIN_RUNNING_POSTCOPY_FAILED),
				 "post-copy", ENDING_NOTHING);
		assert_situation(
			sight(HOST_VM_PAUSED, source, HOST_VM_RUNNING, VIR_DOMAIN_RUNNING_UNPAUSED),
			"post-copy", ENDING_NOTHING);
		assert_situation(sight(HOST_VM_PAUSED, source, HOST_VM_INCOMING, MIGRATION),
				 "post-copy", ENDING_NOTHING);
		assert_situation(sight(HOST_VM_PAUSED, source, HOST_VM_ABSENT, 0), "post-copy-lost",
				 ENDING_NOTHING);
		assert_situation(
			sight(HOST_VM_PAUSED, source, HOST_VM_RUNNING, VIR_DOMAIN_RUNNING_MIGRATED),
			"handed-over", ENDING_END_SOURCE);
	}
	assert_situation(sight(HOST_VM_ABSENT, 0, HOST_VM_RUNNING, VIR_DOMAIN_RUNNING_POSTCOPY),
			 "post-copy-alone", ENDING_NOTHING);
	assert_situation(sight(HOST_VM_RUNNING, 0, HOST_VM_RUNNING, VIR_DOMAIN_RUNNING_POSTCOPY),
			 "post-copy-alone", ENDING_NOTHING);
	/* libvirt has not noticed yet, but the mover saw the switch */
	struct ending_sight seen = sight(HOST_VM_PAUSED, MIGRATION, HOST_VM_INCOMING, MIGRATION);
	assert_situation(seen, "both-stopped", ENDING_END_DESTINATION_RESUME);
	seen.postcopy = true;
	assert_situation(seen, "post-copy", ENDING_NOTHING);
	seen = sight(HOST_VM_PAUSED, MIGRATION, HOST_VM_ABSENT, 0);
	seen.postcopy = true;
	assert_situation(seen, "post-copy-lost", ENDING_NOTHING);
}

/* A source that libvirt still migrates is left alone, whatever the destination shows. */
static void test_busy(void)
{
	struct ending_sight seen = sight(HOST_VM_RUNNING, 0, HOST_VM_INCOMING, MIGRATION);
	seen.vms[MOVE_SOURCE].busy = true;
	assert_situation(seen, "moving", ENDING_NOTHING);
	g_assert_true(ending_judge(&seen)->unstable);
}

/* One that is off long after its move is no matter of the move's. */
static void test_over(void)
{
	struct ending_sight seen = sight(HOST_VM_OFF, 0, HOST_VM_ABSENT, 0);
	seen.ran = ENDING_RAN_MAYBE;
	assert_situation(seen, "nowhere", ENDING_NOTHING);
	seen.closed = ENDING_CLOSED_AT_SOURCE;
	assert_situation(seen, "over", ENDING_NOTHING);
	/* what stands still is another's doing */
	seen = sight(HOST_VM_PAUSED, MIGRATION, HOST_VM_ABSENT, 0);
	seen.ran = ENDING_RAN_MAYBE;
	seen.closed = ENDING_CLOSED_AT_SOURCE;
	assert_situation(seen, "may-have-run", ENDING_NOTHING);
}

static bool runs(const struct ending_sight *seen, enum move_side side)
{
	return seen->known[side] && seen->vms[side].state == HOST_VM_RUNNING;
}

/* Where it is said that nothing runs, nothing does; what runs at one host is never called lost. */
static void check_true(const struct ending_sight *seen)
{
	const struct ending_rule *rule = ending_judge(seen);
	bool one = runs(seen, MOVE_SOURCE) || runs(seen, MOVE_DESTINATION);
	bool both = runs(seen, MOVE_SOURCE) && runs(seen, MOVE_DESTINATION);
	if (g_str_equal(rule->name, "nowhere") || g_str_equal(rule->name, ENDING_ENDED_AT_SOURCE))
		g_assert_false(one);
	if (g_str_equal(rule->name, "both-run"))
		g_assert_true(both);
	if (g_str_equal(rule->name, "at-source"))
		g_assert_false(runs(seen, MOVE_DESTINATION));
	if (g_str_equal(rule->name, "migrated"))
		g_assert_false(runs(seen, MOVE_SOURCE));
}

/* Somebody else's job is not ended, whatever it has come to. */
static void test_foreign(void)
{
	static const enum host_vm_state states[] = { HOST_VM_ABSENT, HOST_VM_RUNNING,
						     HOST_VM_INCOMING };
	for (size_t i = 0; i < G_N_ELEMENTS(states); i++) {
		struct ending_sight seen = sight(HOST_VM_PAUSED, MIGRATION, states[i], MIGRATION);
		seen.vms[MOVE_SOURCE].busy = true;
		g_assert_cmpint(ending_judge(&seen)->action, !=, ENDING_NOTHING);
		seen.foreign_job = true;
		assert_situation(seen, "moving", ENDING_NOTHING);
	}
}

/* As long as it gets on it lives; one that stands still is dead after a while. */
static void test_foreign_job(void)
{
	struct foreign_job job = { 0 };
	struct host_vm vm = { .state = HOST_VM_PAUSED, .busy = true, .job_bytes = 5 };
	g_assert_true(foreign_jobs_look(&job, &vm, false, 1000));
	g_assert_false(job.moved);
	g_assert_true(foreign_jobs_look(&job, &vm, false, 40000));
	g_assert_false(foreign_jobs_look(&job, &vm, false, 46000));
	vm.job_bytes = 6;
	g_assert_true(foreign_jobs_look(&job, &vm, false, 47000));
	g_assert_true(job.moved);
	/* of a move whose conductor is known to be dead less is asked */
	g_assert_false(foreign_jobs_look(&job, &vm, true, 63000));
	vm.busy = false;
	g_assert_false(foreign_jobs_look(&job, &vm, false, 63000));
}

static void check_safe(const struct ending_sight *seen)
{
	const struct host_vm *source = &seen->vms[MOVE_SOURCE];
	const struct host_vm *destination = &seen->vms[MOVE_DESTINATION];
	enum ending_action action = ending_judge(seen)->action;
	bool ends_source = action == ENDING_END_SOURCE;
	bool ends_destination =
		action == ENDING_END_DESTINATION || action == ENDING_END_DESTINATION_RESUME;
	bool resumes = ending_resumes_source(action);
	check_true(seen);
	if (!seen->known[0] || !seen->known[1])
		g_assert_cmpint(action, ==, ENDING_NOTHING);
	/* stale memory never goes on, and only a person's word ends it */
	if (resumes)
		g_assert_true(seen->ran == ENDING_RAN_NEVER ||
			      (destination->state == HOST_VM_INCOMING &&
			       destination->reason == MIGRATION));
	if (action == ENDING_END_STALE) {
		g_assert_cmpint(seen->ran, ==, ENDING_RAN_ONCE);
		g_assert_true(destination->state == HOST_VM_ABSENT ||
			      destination->state == HOST_VM_OFF);
		g_assert_cmpint(source->state, ==, HOST_VM_PAUSED);
		g_assert_cmpint(source->reason, ==, MIGRATION);
	}
	if (ends_source) {
		/* or it is there as it was before, paused by a person */
		g_assert_true(destination->state == HOST_VM_RUNNING ||
			      (seen->paused_before && destination->state == HOST_VM_PAUSED &&
			       destination->reason != MIGRATION));
		g_assert_cmpint(source->state, !=, HOST_VM_RUNNING);
	}
	if (ends_destination) {
		g_assert_cmpint(destination->state, !=, HOST_VM_RUNNING);
		/* without a source it is what never ran, and never will */
		g_assert_true(
			source->state == HOST_VM_RUNNING || source->state == HOST_VM_PAUSED ||
			(seen->ran == ENDING_RAN_NEVER && destination->state == HOST_VM_INCOMING));
	}
	if (resumes) {
		g_assert_cmpint(destination->state, !=, HOST_VM_RUNNING);
		g_assert_cmpint(source->state, ==, HOST_VM_PAUSED);
		g_assert_cmpint(source->reason, ==, MIGRATION);
	}
}

/* Somebody paused it before: then it is whole where it is paused, and never whole twice. */
static void test_paused_before(void)
{
	static const struct {
		enum host_vm_state source, destination;
		int destination_reason;
		const char *name;
		enum ending_action action;
		enum move_outcome outcome;
	} rows[] = {
		{ HOST_VM_ABSENT, HOST_VM_PAUSED, USER, "migrated", ENDING_NOTHING, MOVE_MIGRATED },
		{ HOST_VM_PAUSED, HOST_VM_ABSENT, 0, "at-source", ENDING_NOTHING, MOVE_FAILED },
		{ HOST_VM_PAUSED, HOST_VM_INCOMING, MIGRATION, "destination-left",
		  ENDING_END_DESTINATION, MOVE_FAILED },
		{ HOST_VM_PAUSED, HOST_VM_PAUSED, USER, "both-paused", ENDING_NOTHING,
		  MOVE_ATTENTION },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct ending_sight seen = sight(rows[i].source, USER, rows[i].destination,
						 rows[i].destination_reason);
		seen.paused_before = true;
		assert_situation(seen, rows[i].name, rows[i].action);
		g_assert_cmpint(ending_judge(&seen)->outcome, ==, rows[i].outcome);
	}
	/* the answer to Finish was lost, and the source's copy shows that the migration stopped it */
	struct ending_sight seen = sight(HOST_VM_PAUSED, MIGRATION, HOST_VM_PAUSED, USER);
	seen.ran = ENDING_RAN_MAYBE;
	seen.paused_before = true;
	assert_situation(seen, "handed-over", ENDING_END_SOURCE);
	/* without the journal nobody knows that it was paused before */
	seen = sight(HOST_VM_PAUSED, USER, HOST_VM_PAUSED, USER);
	assert_situation(seen, "both-held", ENDING_NOTHING);
}

/* The VM ended where it was: its own end, and nothing is to be continued. What has been handed over is newer. */
static void test_ended(void)
{
	static const struct {
		enum ending_ran ran;
		enum host_vm_state source;
		int reason;
		enum host_vm_state destination;
		const char *name, *word;
		enum ending_action action;
		enum move_outcome outcome;
	} rows[] = {
		{ ENDING_RAN_NEVER, HOST_VM_OFF, VIR_DOMAIN_SHUTOFF_SHUTDOWN, HOST_VM_ABSENT,
		  "ended-at-source", "shut itself down", ENDING_NOTHING, MOVE_FAILED },
		{ ENDING_RAN_NEVER, HOST_VM_OFF, VIR_DOMAIN_SHUTOFF_CRASHED, HOST_VM_ABSENT,
		  "ended-at-source", "crashed", ENDING_NOTHING, MOVE_FAILED },
		{ ENDING_RAN_NEVER, HOST_VM_OFF, VIR_DOMAIN_SHUTOFF_DESTROYED, HOST_VM_OFF,
		  "ended-at-source", "somebody", ENDING_NOTHING, MOVE_FAILED },
		{ ENDING_RAN_NEVER, HOST_VM_OFF, VIR_DOMAIN_SHUTOFF_DAEMON, HOST_VM_ABSENT,
		  "ended-at-source", "ended at the source", ENDING_NOTHING, MOVE_FAILED },
		{ ENDING_RAN_NEVER, HOST_VM_ABSENT, 0, HOST_VM_ABSENT, "ended-at-source",
		  "ended at the source", ENDING_NOTHING, MOVE_FAILED },
		{ ENDING_RAN_NEVER, HOST_VM_ABSENT, 0, HOST_VM_INCOMING, "ended-at-source",
		  "ended at the source", ENDING_END_DESTINATION, MOVE_FAILED },
		{ ENDING_RAN_MAYBE, HOST_VM_ABSENT, 0, HOST_VM_INCOMING, "destination-stopped",
		  "gone", ENDING_NOTHING, MOVE_ATTENTION },
		{ ENDING_RAN_MAYBE, HOST_VM_OFF, VIR_DOMAIN_SHUTOFF_SHUTDOWN, HOST_VM_ABSENT,
		  "nowhere", "neither", ENDING_NOTHING, MOVE_ATTENTION },
		{ ENDING_RAN_ONCE, HOST_VM_OFF, VIR_DOMAIN_SHUTOFF_MIGRATED, HOST_VM_ABSENT,
		  "ended-there", "since", ENDING_NOTHING, MOVE_MIGRATED },
		{ ENDING_RAN_ONCE, HOST_VM_ABSENT, 0, HOST_VM_OFF, "ended-there", "since",
		  ENDING_NOTHING, MOVE_MIGRATED },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct ending_sight seen =
			sight(rows[i].source, rows[i].reason, rows[i].destination, MIGRATION);
		seen.ran = rows[i].ran;
		assert_situation(seen, rows[i].name, rows[i].action);
		const struct ending_rule *rule = ending_judge(&seen);
		g_assert_cmpint(rule->outcome, ==, rows[i].outcome);
		g_assert_nonnull(strstr(ending_what(rule, &seen), rows[i].word));
	}
}

/* Every pair of states and reasons, known or not: no rule ends a copy without another one that runs
 * or can go on, none resumes beside a running one, none acts on what is not known. */
static void test_safe(void)
{
	static const int reasons[] = { 0, MIGRATION, USER, VIR_DOMAIN_PAUSED_IOERROR };
	for (unsigned i = 0; i < 5 * 5 * 4 * 4 * 4 * 2 * 3 * 2; i++) {
		unsigned n = i;
		struct ending_sight seen = { 0 };
		for (int side = 0; side < MOVE_SIDES; side++) {
			seen.vms[side].state = all_states[n % 5];
			seen.vms[side].reason = reasons[n / 5 % 4];
			n /= 20;
		}
		seen.known[0] = !(n & 1);
		seen.known[1] = !(n & 2);
		seen.vms[MOVE_SOURCE].busy = n & 4;
		seen.ran = (enum ending_ran)(n / 8 % 3);
		seen.paused_before = n / 24;
		check_safe(&seen);
	}
}

static void test_words(void)
{
	for (size_t i = 0; i < 5 * 5 * 2 * 3; i++) {
		int reason = i / 25 % 2 ? MIGRATION : 0;
		struct ending_sight seen =
			sight(all_states[i % 5], reason, all_states[i / 5 % 5], reason);
		seen.ran = (enum ending_ran)(i / 50);
		const struct ending_rule *rule = ending_judge(&seen);
		/* what a person must look at says what it is and what to do */
		g_assert_true(rule->outcome != MOVE_ATTENTION || (rule->what && rule->next));
		g_assert_true(rule->action == ENDING_NOTHING || rule->what);
	}
}

/* Once Finish may have been said, a copy that is not at the destination may have ended there, and the
 * source's memory may be older than the disks. */
static void test_ran(void)
{
	enum { STARTING = VIR_DOMAIN_PAUSED_STARTING_UP, IO_ERROR = VIR_DOMAIN_PAUSED_IOERROR };
	static const struct {
		enum ending_ran ran;
		enum host_vm_state destination;
		int reason;
		const char *name;
		enum ending_action action;
		enum move_outcome outcome;
	} rows[] = {
		{ ENDING_RAN_MAYBE, HOST_VM_ABSENT, 0, "may-have-run", ENDING_NOTHING,
		  MOVE_ATTENTION },
		{ ENDING_RAN_MAYBE, HOST_VM_OFF, VIR_DOMAIN_SHUTOFF_SHUTDOWN, "may-have-run",
		  ENDING_NOTHING, MOVE_ATTENTION },
		/* also of a copy that ran, and that libvirt lost */
		{ ENDING_RAN_MAYBE, HOST_VM_OFF, VIR_DOMAIN_SHUTOFF_FAILED, "may-have-run",
		  ENDING_NOTHING, MOVE_ATTENTION },
		/* paused for another migration, from there */
		{ ENDING_RAN_MAYBE, HOST_VM_PAUSED, MIGRATION, "may-have-run", ENDING_NOTHING,
		  MOVE_ATTENTION },
		{ ENDING_RAN_MAYBE, HOST_VM_PAUSED, IO_ERROR, "started-there", ENDING_NOTHING,
		  MOVE_ATTENTION },
		{ ENDING_RAN_MAYBE, HOST_VM_INCOMING, IO_ERROR, "started-there", ENDING_NOTHING,
		  MOVE_ATTENTION },
		/* libvirt itself says that it never ran, or that it runs */
		{ ENDING_RAN_MAYBE, HOST_VM_INCOMING, MIGRATION, "both-stopped",
		  ENDING_END_DESTINATION_RESUME, MOVE_FAILED },
		{ ENDING_RAN_MAYBE, HOST_VM_INCOMING, STARTING, "both-stopped",
		  ENDING_END_DESTINATION_RESUME, MOVE_FAILED },
		{ ENDING_RAN_MAYBE, HOST_VM_RUNNING, 0, "handed-over", ENDING_END_SOURCE,
		  MOVE_MIGRATED },
		{ ENDING_RAN_ONCE, HOST_VM_ABSENT, 0, "ran-there", ENDING_END_STALE,
		  MOVE_MIGRATED },
		{ ENDING_RAN_ONCE, HOST_VM_OFF, VIR_DOMAIN_SHUTOFF_SHUTDOWN, "ran-there",
		  ENDING_END_STALE, MOVE_MIGRATED },
		{ ENDING_RAN_ONCE, HOST_VM_PAUSED, MIGRATION, "may-have-run", ENDING_NOTHING,
		  MOVE_ATTENTION },
		{ ENDING_RAN_NEVER, HOST_VM_ABSENT, 0, "source-stopped", ENDING_RESUME_SOURCE,
		  MOVE_FAILED },
		{ ENDING_RAN_NEVER, HOST_VM_OFF, VIR_DOMAIN_SHUTOFF_FAILED, "source-stopped",
		  ENDING_RESUME_SOURCE, MOVE_FAILED },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct ending_sight seen =
			sight(HOST_VM_PAUSED, MIGRATION, rows[i].destination, rows[i].reason);
		seen.ran = rows[i].ran;
		assert_situation(seen, rows[i].name, rows[i].action);
		g_assert_cmpint(ending_judge(&seen)->outcome, ==, rows[i].outcome);
	}
	/* a source that runs, or is paused by a person, is not touched by it */
	struct ending_sight seen = sight(HOST_VM_RUNNING, 0, HOST_VM_ABSENT, 0);
	seen.ran = ENDING_RAN_ONCE;
	assert_situation(seen, "at-source", ENDING_NOTHING);
	seen = sight(HOST_VM_PAUSED, USER, HOST_VM_ABSENT, 0);
	seen.ran = ENDING_RAN_ONCE;
	assert_situation(seen, "source-held", ENDING_NOTHING);
}

/* A destination that does not answer holds the source back only as long as somebody might start it there. */
static void test_alone(void)
{
	static const struct {
		enum ending_ran ran;
		bool never_starts;
		int reason; /* of the stopped source */
		const char *name;
	} rows[] = {
		{ ENDING_RAN_NEVER, true, MIGRATION, "source-alone" },
		/* a person's word says nothing of what is still on its way */
		{ ENDING_RAN_NEVER, false, MIGRATION, "destination-unknown" },
		{ ENDING_RAN_MAYBE, false, MIGRATION, "destination-unknown" },
		{ ENDING_RAN_ONCE, true, MIGRATION, "destination-unknown" },
		{ ENDING_RAN_NEVER, true, USER, "destination-unknown" },
		{ ENDING_RAN_NEVER, true, VIR_DOMAIN_PAUSED_POSTCOPY, "destination-unknown" },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		bool alone = g_str_equal(rows[i].name, "source-alone");
		struct ending_sight seen = sight(HOST_VM_PAUSED, rows[i].reason, HOST_VM_ABSENT, 0);
		seen.known[MOVE_DESTINATION] = false;
		seen.ran = rows[i].ran;
		seen.never_starts = rows[i].never_starts;
		assert_situation(seen, rows[i].name,
				 alone ? ENDING_RESUME_SOURCE_ALONE : ENDING_NOTHING);
		g_assert_true(ending_is_alone(ending_judge(&seen)) == alone);
		seen.foreign_job = true;
		g_assert_cmpint(ending_judge(&seen)->action, ==, ENDING_NOTHING);
	}
}

/* A VM that was off: what is defined at the destination was proven to be whole, but only if this move
 * defined it. */
static void test_offline(void)
{
	static const struct {
		enum host_vm_state source, destination;
		bool defined;
		const char *name;
		enum ending_action action;
		enum move_outcome outcome;
	} rows[] = {
		{ HOST_VM_OFF, HOST_VM_ABSENT, false, "at-source", ENDING_NOTHING, MOVE_FAILED },
		{ HOST_VM_OFF, HOST_VM_ABSENT, true, "at-source", ENDING_NOTHING, MOVE_FAILED },
		{ HOST_VM_OFF, HOST_VM_OFF, false, "at-source", ENDING_NOTHING, MOVE_FAILED },
		{ HOST_VM_RUNNING, HOST_VM_ABSENT, false, "at-source", ENDING_NOTHING,
		  MOVE_FAILED },
		{ HOST_VM_OFF, HOST_VM_OFF, true, "defined", ENDING_UNDEFINE_SOURCE,
		  MOVE_MIGRATED },
		{ HOST_VM_OFF, HOST_VM_RUNNING, true, "defined", ENDING_UNDEFINE_SOURCE,
		  MOVE_MIGRATED },
		{ HOST_VM_ABSENT, HOST_VM_OFF, true, "migrated", ENDING_NOTHING, MOVE_MIGRATED },
		{ HOST_VM_RUNNING, HOST_VM_OFF, true, "source-started", ENDING_NOTHING,
		  MOVE_ATTENTION },
		{ HOST_VM_PAUSED, HOST_VM_RUNNING, true, "both-run", ENDING_NOTHING,
		  MOVE_ATTENTION },
		{ HOST_VM_ABSENT, HOST_VM_ABSENT, true, "nowhere", ENDING_NOTHING, MOVE_ATTENTION },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct ending_sight seen = sight(rows[i].source, 0, rows[i].destination, 0);
		seen.offline = true;
		seen.defined = rows[i].defined;
		assert_situation(seen, rows[i].name, rows[i].action);
		g_assert_cmpint(ending_judge(&seen)->outcome, ==, rows[i].outcome);
		/* only of what it was asked for its silence says anything */
		bool needed = rows[i].defined || rows[i].source == HOST_VM_ABSENT;
		seen.known[MOVE_DESTINATION] = false;
		g_assert_cmpint(ending_judge(&seen)->action, ==, ENDING_NOTHING);
		g_assert_cmpint(ending_judge(&seen)->outcome, ==,
				needed ? MOVE_ATTENTION : MOVE_FAILED);
		seen.known[MOVE_SOURCE] = false;
		assert_situation(seen, "source-unknown", ENDING_NOTHING);
	}
}

/* ---- through a directory ---- */

static struct ending_sight through(enum ending_through stage, enum host_vm_state source,
				   enum host_vm_state destination)
{
	struct ending_sight seen = sight(source, USER, destination, MIGRATION);
	seen.through = stage;
	return seen;
}

static void test_through_known(void)
{
	static const struct {
		enum ending_through stage;
		enum host_vm_state source, destination;
		const char *name;
		enum ending_action action;
		enum move_outcome outcome;
	} rows[] = {
		{ THROUGH_STOPPED, HOST_VM_RUNNING, HOST_VM_ABSENT, "at-source", ENDING_NOTHING,
		  MOVE_FAILED },
		{ THROUGH_STOPPED, HOST_VM_PAUSED, HOST_VM_ABSENT, "source-stopped",
		  ENDING_RESUME_SOURCE_ALONE, MOVE_FAILED },
		{ THROUGH_LEFT, HOST_VM_PAUSED, HOST_VM_ABSENT, "source-stopped",
		  ENDING_RESUME_SOURCE, MOVE_FAILED },
		{ THROUGH_LEFT, HOST_VM_PAUSED, HOST_VM_PAUSED, "both-stopped",
		  ENDING_END_DESTINATION_RESUME, MOVE_FAILED },
		{ THROUGH_LEFT, HOST_VM_OFF, HOST_VM_ABSENT, "state-saved", ENDING_RESTORE_SOURCE,
		  MOVE_FAILED },
		{ THROUGH_LEFT, HOST_VM_ABSENT, HOST_VM_PAUSED, "destination-restored",
		  ENDING_RESUME_DESTINATION, MOVE_MIGRATED },
		{ THROUGH_BACK, HOST_VM_ABSENT, HOST_VM_PAUSED, "destination-failed",
		  ENDING_END_DESTINATION_RESTORE, MOVE_FAILED },
		{ THROUGH_RESUMED, HOST_VM_OFF, HOST_VM_RUNNING, "migrated", ENDING_UNDEFINE_SOURCE,
		  MOVE_MIGRATED },
		{ THROUGH_RESUMED, HOST_VM_ABSENT, HOST_VM_PAUSED, "destination-stopped",
		  ENDING_NOTHING, MOVE_ATTENTION },
		/* it may have run and ended: its disks may be newer than the state */
		{ THROUGH_RESUMED, HOST_VM_OFF, HOST_VM_ABSENT, "destination-ended", ENDING_NOTHING,
		  MOVE_ATTENTION },
		{ THROUGH_RESTORED, HOST_VM_OFF, HOST_VM_ABSENT, "source-ended", ENDING_NOTHING,
		  MOVE_ATTENTION },
		{ THROUGH_STOPPED, HOST_VM_OFF, HOST_VM_ABSENT, "ended-at-source", ENDING_NOTHING,
		  MOVE_FAILED },
		/* by hand, or moved back */
		{ THROUGH_RESUMED, HOST_VM_RUNNING, HOST_VM_ABSENT, "back-at-source",
		  ENDING_NOTHING, MOVE_FAILED },
		{ THROUGH_RESUMED, HOST_VM_PAUSED, HOST_VM_ABSENT, "source-stale", ENDING_NOTHING,
		  MOVE_ATTENTION },
		/* the source's is whole, and what runs there is none of ours */
		{ THROUGH_STOPPED, HOST_VM_PAUSED, HOST_VM_RUNNING, "started-elsewhere",
		  ENDING_NOTHING, MOVE_ATTENTION },
		{ THROUGH_LEFT, HOST_VM_PAUSED, HOST_VM_RUNNING, "handed-over", ENDING_END_SOURCE,
		  MOVE_MIGRATED },
		{ THROUGH_RESTORED, HOST_VM_PAUSED, HOST_VM_ABSENT, "source-stopped",
		  ENDING_RESUME_SOURCE, MOVE_FAILED },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct ending_sight seen =
			through(rows[i].stage, rows[i].source, rows[i].destination);
		assert_situation(seen, rows[i].name, rows[i].action);
		g_assert_cmpint(ending_judge(&seen)->outcome, ==, rows[i].outcome);
	}
}

/* As long as the destination was not asked for anything, its silence does not matter; after that it
 * decides. */
static void test_through_silence(void)
{
	struct ending_sight seen = through(THROUGH_STOPPED, HOST_VM_PAUSED, HOST_VM_ABSENT);
	seen.known[MOVE_DESTINATION] = false;
	assert_situation(seen, "source-stopped", ENDING_RESUME_SOURCE_ALONE);
	for (int stage = THROUGH_LEFT; stage < THROUGH_LAST; stage++) {
		seen = through(stage, HOST_VM_OFF, HOST_VM_ABSENT);
		seen.known[MOVE_DESTINATION] = false;
		assert_situation(seen, "destination-unknown", ENDING_NOTHING);
	}
}

static void test_through_paused_before(void)
{
	struct ending_sight seen = through(THROUGH_STOPPED, HOST_VM_PAUSED, HOST_VM_ABSENT);
	seen.paused_before = true;
	assert_situation(seen, "at-source", ENDING_NOTHING);
	seen = through(THROUGH_RESUMED, HOST_VM_ABSENT, HOST_VM_PAUSED);
	seen.paused_before = true;
	assert_situation(seen, "migrated", ENDING_NOTHING);
	/* two that stand still are not two that run */
	seen = through(THROUGH_LEFT, HOST_VM_PAUSED, HOST_VM_PAUSED);
	seen.paused_before = true;
	assert_situation(seen, "destination-left", ENDING_END_DESTINATION);
}

static void check_through_safe(const struct ending_sight *seen)
{
	const struct host_vm *source = &seen->vms[MOVE_SOURCE];
	const struct host_vm *destination = &seen->vms[MOVE_DESTINATION];
	enum ending_action action = ending_judge(seen)->action;
	bool restores = action == ENDING_RESTORE_SOURCE || action == ENDING_END_DESTINATION_RESTORE;
	bool ends_destination = action == ENDING_END_DESTINATION ||
				action == ENDING_END_DESTINATION_RESUME ||
				action == ENDING_END_DESTINATION_RESTORE;
	bool starts_source = restores || ending_resumes_source(action);
	bool source_gone = source->state == HOST_VM_ABSENT || source->state == HOST_VM_OFF;
	if (!seen->known[MOVE_SOURCE])
		g_assert_cmpint(action, ==, ENDING_NOTHING);
	if (!seen->known[MOVE_DESTINATION] && seen->through > THROUGH_STOPPED)
		g_assert_cmpint(action, ==, ENDING_NOTHING);
	/* never from a state that the VM may have left behind */
	if (restores)
		g_assert_true(source_gone &&
			      (seen->through == THROUGH_LEFT || seen->through == THROUGH_BACK));
	if (starts_source && seen->known[MOVE_DESTINATION])
		g_assert_cmpint(destination->state, !=, HOST_VM_RUNNING);
	if (starts_source)
		g_assert_cmpint(seen->through, !=, THROUGH_RESUMED);
	/* what may have run is not thrown away */
	if (ends_destination) {
		g_assert_cmpint(destination->state, !=, HOST_VM_RUNNING);
		g_assert_cmpint(seen->through, !=, THROUGH_RESUMED);
	}
	check_true(seen);
	if (action == ENDING_END_SOURCE)
		g_assert_true(destination->state == HOST_VM_RUNNING ||
			      (seen->paused_before && seen->through == THROUGH_RESUMED));
	if (action == ENDING_RESUME_DESTINATION)
		g_assert_true(source_gone && seen->through == THROUGH_LEFT);
}

static void test_through_safe(void)
{
	for (int stage = THROUGH_BEFORE; stage < THROUGH_LAST; stage++)
		for (size_t s = 0; s < G_N_ELEMENTS(all_states); s++)
			for (size_t d = 0; d < G_N_ELEMENTS(all_states); d++)
				for (int bits = 0; bits < 8; bits++) {
					struct ending_sight seen =
						through(stage, all_states[s], all_states[d]);
					seen.known[MOVE_SOURCE] = bits & 1;
					seen.known[MOVE_DESTINATION] = bits & 2;
					seen.paused_before = bits & 4;
					check_through_safe(&seen);
				}
}

/* A stop that was asked for in a live migration, and came too late, is the move's own. */
static void test_suspended(void)
{
	struct ending_sight seen = sight(HOST_VM_PAUSED, USER, HOST_VM_ABSENT, 0);
	seen.suspended = true;
	assert_situation(seen, "source-stopped", ENDING_RESUME_SOURCE);
	seen.paused_before = true;
	assert_situation(seen, "at-source", ENDING_NOTHING);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ending/known", test_known);
	g_test_add_func("/ending/busy", test_busy);
	g_test_add_func("/ending/postcopy", test_postcopy);
	g_test_add_func("/ending/paused-before", test_paused_before);
	g_test_add_func("/ending/ran", test_ran);
	g_test_add_func("/ending/alone", test_alone);
	g_test_add_func("/ending/ended", test_ended);
	g_test_add_func("/ending/over", test_over);
	g_test_add_func("/ending/foreign", test_foreign);
	g_test_add_func("/ending/foreign-job", test_foreign_job);
	g_test_add_func("/ending/safe", test_safe);
	g_test_add_func("/ending/words", test_words);
	g_test_add_func("/ending/offline", test_offline);
	g_test_add_func("/ending/suspended", test_suspended);
	g_test_add_func("/ending/through/known", test_through_known);
	g_test_add_func("/ending/through/silence", test_through_silence);
	g_test_add_func("/ending/through/paused-before", test_through_paused_before);
	g_test_add_func("/ending/through/safe", test_through_safe);
	return g_test_run();
}
