/* SPDX-License-Identifier: Apache-2.0 */
/* Where each copied disk goes: what the user said, or the same path; and whether it can go there.
 * Only inside src/conductor. */
#pragma once
#include "host/image.h"
#include "conductor/core/move.h"

/* Read --disk into the disks' `place`. WATARI_ERROR_USAGE, or _REFUSED for what cannot be copied. */
bool disk_places_read(struct move *move, GError **error);

/* Fill in the copied DISK's `destination`, `block` and `format`, and look there. A volume of a pool
 * that makes its volumes itself (LVM) is named in *volume_pool, and made by disk_place_make_volume().
 * Blocks; in any thread. */
bool disk_place_find(struct move *move, struct move_disk *disk, struct image_place *place,
		     char **volume_pool, GError **error);
/* Make the volume in the pool; its path becomes the disk's destination. Blocks. */
bool disk_place_make_volume(struct move *move, struct move_disk *disk, const char *pool,
			    GError **error);
