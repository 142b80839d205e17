/* SPDX-License-Identifier: Apache-2.0 */
/* Arms the guard for Finish, and keeps its mark. */
#include "conductor/live/finish.h"

/* In the guard's thread. */
static bool on_answer(enum guard_answer answer, void *data)
{
	struct move *move = data;
	enum finish_said said = answer == GUARD_FAILED ? FINISH_FAILED : FINISH_SAID;
	bool good = finish_mark_set(move->finish_mark, said);
	/* else Finish is not passed on */
	if (good || said == FINISH_FAILED)
		g_atomic_int_set(&move->finish_said, (int) said);
	return good;
}

/* One that cannot be made costs the proof, and the move must not end for that. */
void finish_begin(struct move *move)
{
	move->finish_mark = finish_mark_new(move->report->id, NULL);
}

void finish_arm(struct move *move)
{
	guard_on_answer(move->guard, on_answer, move);
	guard_arm(move->guard);
}

/* (A move that picks up another one's migration did not see what that one said.) */
static bool is_own(const struct move *move)
{
	return move->guard && move->performed && !move->resume_flags;
}

static bool is_proven_never(struct move *move)
{
	return is_own(move) ? g_atomic_int_get(&move->finish_said) != FINISH_SAID
			    : finish_mark_proves_never(move->report->id);
}

enum ending_ran finish_find_out(struct move *move)
{
	if (move->ran != ENDING_RAN_MAYBE || move->outdated)
		return move->ran;
	/* It took over, whatever became of it since. */
	if (is_own(move) && guard_answer(move->guard) == GUARD_RUNS)
		return ENDING_RAN_ONCE;
	return is_proven_never(move) ? ENDING_RAN_NEVER : ENDING_RAN_MAYBE;
}

/* A dead conductor says nothing any more; of our own one the way must be closed. */
bool finish_never_comes(struct move *move)
{
	return !move->outdated && is_proven_never(move) &&
	       (!is_own(move) || guard_is_broken(move->guard, GUARD_DESTINATION, NULL));
}

bool finish_forget(struct move *move)
{
	return finish_mark_remove(move->report->id);
}
