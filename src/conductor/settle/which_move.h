/* SPDX-License-Identifier: Apache-2.0 */
/* Which move of the journal `watari resolve` is to end, and between which hosts. Only inside src/conductor. */
#pragma once
#include "conductor/settle/resolve.h"
#include "conductor/core/move.h"

/* move->journal is opened, the remote shell and the hosts' addresses are set: as REQUEST has them, else
 * as the move had them. *move: the row, or NULL where the journal has none
 * between these machines, so that nothing is known but what the hosts say. Caller frees it.
 *
 * move->outdated: the VM has been moved again since, so what the row says of the VM is old.
 * Refused: a move of this VM is being driven; more than one is unfinished and no hosts are named. */
bool which_move_choose(struct move *move, const struct resolve_request *request,
		       struct journal_move **row, GError **error);
