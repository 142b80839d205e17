/* SPDX-License-Identifier: Apache-2.0 */
#include "journey/perform/finish.h"

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

enum ending_ran finish_find_out(struct journey *journey)
{
	if (journey->ran != ENDING_RAN_MAYBE || journey->outdated)
		return journey->ran;
	/* (A journey that picks up another one's migration did not see what that one said.) */
	bool own = journey->guard && journey->performed && !journey->resume_flags;
	/* It took over, whatever became of it since. */
	if (own && guard_answer(journey->guard) == GUARD_RUNS)
		return ENDING_RAN_ONCE;
	bool never = own ? g_atomic_int_get(&journey->finish_said) != FINISH_SAID
			 : finish_mark_proves_never(journey->report->id);
	return never ? ENDING_RAN_NEVER : ENDING_RAN_MAYBE;
}

bool finish_forget(struct journey *journey)
{
	return finish_mark_remove(journey->report->id);
}
