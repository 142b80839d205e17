/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the VM that are no disks of the link: what it only reads and the destination has not (a CD, a seed of
 * cloud-init, a kernel), and what firmware and TPM keep. They are copied before anything moves, are in the journal, and
 * removed after a failure; what only this VM may have leaves the source after a good end. Only inside src/conductor. */
#pragma once
#include "conductor/core/move.h"

/* PATH, which the VM only reads as TARGET ("sda", "kernel"), must be copied to DESTINATION. Refuses what is not ours to
 * copy. Main thread. */
bool files_add(struct move *move, const char *target, const char *path, const char *destination,
	       GError **error);
/* The variables of the firmware and the state of a TPM, as far as they must be carried. The movers are linked. */
bool files_find_private(struct move *move, GError **error);
/* Disks that only the definition has, and the memory of external snapshots. Likewise. */
bool files_find_beside(struct move *move, GError **error);
/* What a package brought must come from a package there, too. */
bool files_are_of_system(const char *path);
/* Nothing of them may be copied: the user says so, or there is no way. */
bool files_stay(const struct move_request *request);
/* Look at their places at the destination; nothing is made. */
bool files_prepare(struct move *move, GError **error);
/* How many bytes they have, all together; known once that is done. */
uint64_t files_size(const struct move *move);
/* Copy them. */
bool files_copy(struct move *move, GError **error);

/* What an earlier move had noted of private files at its source. */
void files_read(struct move *move, const char *id);
/* After a good end: what was private to the VM is removed from the source, if its definition is gone from there. */
void files_after_move(struct move *move);
