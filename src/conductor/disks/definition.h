/* SPDX-License-Identifier: Apache-2.0 */
/* The persistent definition of a running VM, where it differs from what runs. Only inside src/conductor. */
#pragma once
#include "conductor/core/move.h"

/* Fills move->absent_media. Blocks. */
void definition_find_absent_media(struct move *move);
/* XML (a definition) in which a drive starts empty where its medium is one of those. Caller frees. */
char *definition_make_startable(struct move *move, const char *xml, GError **error);
