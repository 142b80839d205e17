/* SPDX-License-Identifier: Apache-2.0 */
/* What a move carries beside the VM (host/belongings/belongings.h): read before, kept in the journal,
 * given back at the end. Only inside src/conductor; blocking calls run in threads of their own. */
#pragma once
#include "conductor/core/move.h"

/* What the move with that ID wrote down and nobody has given back yet, into move->belongings. */
void belongings_recall(struct move *move, const char *id);
/* Give all to the VM, which is at SIDE for good; HOSTS may have NULLs. What cannot be given is noted, and stays in the
 * journal for `watari resolve`. */
void belongings_hand_over(struct move *move, struct host *const *hosts, enum move_side side);
