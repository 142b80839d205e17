/* SPDX-License-Identifier: Apache-2.0 */
/* What the server (server.h) answers: how the move is, that it is cancelled, that its limits are changed
 * from now on. Only inside src/conductor. */
#pragma once
#include "conductor/core/move.h"

/* From here on other terminals may ask. What cannot be opened is noted, no more. */
void answers_open(struct move *move);
/* The last words. ERROR may be NULL. */
void answers_close(struct move *move, const GError *error);
