/* SPDX-License-Identifier: Apache-2.0 */
/* The passphrase of an encrypted disk, of which a copy is made that both QEMUs can open. Only inside src/conductor. */
#pragma once
#include "host/image.h"
#include "conductor/core/move.h"

/* Read it from the source's libvirt; image_key_clear() must follow. Refuses what libvirt does not give away. Blocks; in
 * any thread. */
bool disk_key_read(struct move *move, const struct move_disk *disk, struct image_key *key,
		   GError **error);
