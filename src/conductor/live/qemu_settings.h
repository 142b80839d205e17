/* SPDX-License-Identifier: Apache-2.0 */
/* What a migration changes in the source's QEMU for good, as it was before: in the journal before it is
 * changed, so that whoever ends the move can set it back where the VM stays. Only inside src/conductor. */
#pragma once
#include "conductor/core/move.h"

/* Reads it from journey->domain. */
bool before_read(struct journey *journey, GError **error);
/* What the move with that ID has not set back yet. */
void before_recall(struct journey *journey, const char *id);
bool before_is_known(const struct journey *journey);
/* DOMAIN is at the source, and stays. Blocks. */
void before_restore(struct journey *journey, virDomainPtr domain);
/* It was done. */
void before_note_restored(struct journey *journey);
