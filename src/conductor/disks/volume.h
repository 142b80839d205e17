/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that is a volume of a storage pool: each host's libvirt has a pool of that name, and each may mean
 * another directory by it. Only inside src/conductor. */
#pragma once
#include "conductor/core/move.h"

/* DISK stays a volume at the destination: there it is at the same path as here, or it is none at all
 * (true at once). False: refused, with both paths. Main thread. */
bool volume_check_place(struct move *move, const struct disk *disk, GError **error);
