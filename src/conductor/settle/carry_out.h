/* SPDX-License-Identifier: Apache-2.0 */
/* Does what a rule of the endings says, in the order in which nothing can be lost by dying in the middle. Only inside
 * src/conductor. */
#pragma once
#include "conductor/core/move.h"
#include "conductor/endings/ending.h"

/* RULE is the one for SEEN. False with *error (WATARI_ERROR_ATTENTION): something of it is left undone, and nothing
 * was done that must not be. ENDING's hosts may be NULL where they do not answer. */
bool carry_out_ending(struct move *move, struct ending *ending, const struct ending_sight *seen,
		      const struct ending_rule *rule, GError **error);
