/* SPDX-License-Identifier: Apache-2.0 */
/* What movers say unasked goes into the report, the progress and what is known of the link; events go into the
 * journal as well. */
#pragma once
#include "conductor/core/move.h"

/* Of dialogue_open(); DATA is the move. */
void mover_events_heard(struct dialogue *dialogue, const char *type, JsonObject *message,
			void *data);
