/* SPDX-License-Identifier: Apache-2.0 */
/* What a migration changes in the source's QEMU for good, as it was before: in the journal before it is
 * changed, so that whoever ends the move can set it back where the VM stays. Only inside src/conductor. */
#pragma once
#include "conductor/core/move.h"

/* Reads it from move->domain. */
bool qemu_settings_read(struct move *move, GError **error);
/* What the move with that ID has not set back yet. */
void qemu_settings_recall(struct move *move, const char *id);
bool qemu_settings_is_known(const struct move *move);
/* DOMAIN is at the source, and stays. Blocks. */
void qemu_settings_restore(struct move *move, virDomainPtr domain);
/* It was done. */
void qemu_settings_note_restored(struct move *move);
