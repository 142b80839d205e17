/* SPDX-License-Identifier: Apache-2.0 */
/* What a disk that is to be copied is at the source, and whether it can be. Only inside src/conductor. */
#pragma once
#include "conductor/core/move.h"

/* Fill in the copied DISK's size, what it takes on the disk, the format of its copy and, with
 * --keep-backing, the file at the destination that the copy will stand on. What a copy does not
 * have is added to LOSSES (findings). Refuses what would be lost.
 * Blocks; in any thread. */
bool disk_image_read(struct move *move, struct move_disk *disk, GPtrArray *losses, GError **error);
