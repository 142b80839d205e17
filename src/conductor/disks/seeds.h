/* SPDX-License-Identifier: Apache-2.0 */
/* Images at the destination whose content disks and memory may refer to. Only inside src/conductor. */
#pragma once
#include "conductor/core/move.h"

/* The user's words for them: "/path", or "FORMAT:/path". WATARI_ERROR_USAGE. */
bool seeds_check_words(const char *const *seeds, GError **error);
/* Tell both movers, if they can use them. Refuses only where the user asked for one. */
bool seeds_tell(struct move *move, GError **error);
