/* SPDX-License-Identifier: Apache-2.0 */
#include "conductor/live/finish.h"

/* In the guard's thread. */
static bool on_answer(enum guard_answer answer, void *data)
{
	struct journey *journey = data;
	enum finish_said said = answer == GUARD_FAILED ? FINISH_FAILED : FINISH_SAID;
	bool good = finish_mark_set(journey->finish_mark, said);
	/* else Finish is not passed on */
	if (good || said == FINISH_FAILED)
		g_atomic_int_set(&journey->finish_said, (int) said);
	return good;
}

/* One that cannot be made costs the proof, and the move must not end for that. */
void finish_begin(struct journey *journey)
{
	journey->finish_mark = finish_mark_new(journey->report->id, NULL);
}

void finish_arm(struct journey *journey)
{
	guard_on_answer(journey->guard, on_answer, journey);
	guard_arm(journey->guard);
}

/* (A journey that picks up another one's migration did not see what that one said.) */
static bool is_own(const struct journey *journey)
{
	return journey->guard && journey->performed && !journey->resume_flags;
}

static bool is_proven_never(struct journey *journey)
{
	return is_own(journey) ? g_atomic_int_get(&journey->finish_said) != FINISH_SAID
			       : finish_mark_proves_never(journey->report->id);
}

enum ending_ran finish_find_out(struct journey *journey)
{
	if (journey->ran != ENDING_RAN_MAYBE || journey->outdated)
		return journey->ran;
	/* It took over, whatever became of it since. */
	if (is_own(journey) && guard_answer(journey->guard) == GUARD_RUNS)
		return ENDING_RAN_ONCE;
	return is_proven_never(journey) ? ENDING_RAN_NEVER : ENDING_RAN_MAYBE;
}

/* A dead conductor says nothing any more; of our own one the way must be closed. */
bool finish_never_comes(struct journey *journey)
{
	return !journey->outdated && is_proven_never(journey) &&
	       (!is_own(journey) || guard_is_broken(journey->guard, GUARD_DESTINATION, NULL));
}

bool finish_forget(struct journey *journey)
{
	return finish_mark_remove(journey->report->id);
}
