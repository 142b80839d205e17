/* SPDX-License-Identifier: Apache-2.0 */
/* A broken post-copy whose conductor is gone, picked up by `watari resolve`. Only inside src/conductor. */
#pragma once
#include "conductor/core/move.h"

/* `watari resolve`: both QEMUs were seen to have failed in post-copy, and what the journal says of the
 * move (TEXT, of the event "postcopy-asked"; may be NULL) is enough to recover it. True: the move is
 * complete. It takes REQUEST for its own, which must outlive the move. */
bool postcopy_resume(struct move *move, const char *text, struct move_request *request,
		     GError **error);
