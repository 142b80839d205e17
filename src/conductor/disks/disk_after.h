/* SPDX-License-Identifier: Apache-2.0 */
/* The images at the source after a good move: nobody needs them, and they are removed if the user said
 * so and it is proven that the copies are whole. Only inside src/conductor. */
#pragma once
#include "conductor/core/move.h"

/* Says where the old images lie, or removes them. SOURCE: a connection, or NULL. */
void disk_after_move(struct move *move, struct host *source);
