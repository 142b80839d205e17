/* SPDX-License-Identifier: Apache-2.0 */
/* Earlier moves of the VM that have no end in the journal: a new one may not begin beside a living one, and
 * not on top of what a dead one left. Only inside src/conductor. */
#pragma once
#include "conductor/core/move.h"

/* Opens the journal where that was not done. WATARI_ERROR_REFUSED: another move of this VM is being driven;
 * once this move has a row of its own, only those that were begun before it count. */
bool earlier_refuse_driven(struct move *move, GError **error);
/* A finding ("earlier-move") for each that was broken off and changed something. One that changed nothing
 * gets its end, unless this is a plan, which writes nothing. */
void earlier_check(struct move *move);
