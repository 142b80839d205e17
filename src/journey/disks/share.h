/* SPDX-License-Identifier: Apache-2.0 */
/* The proof of phase_share.c for a path of one's own. Only inside src/journey. */
#pragma once
#include "journey/state.h"

/* Do both hosts see the same directory around PATH, which need not be there? The movers are running. */
bool share_prove(struct journey *journey, const char *path, bool *same, GError **error);
