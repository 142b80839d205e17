/* SPDX-License-Identifier: Apache-2.0 */
/* A VM that is off: its disks go the way that they go under a running VM, with QEMU's tools in the
 * places of both QEMUs, and then its definition. Only inside src/conductor.
 *
 * Start is prevented meanwhile at both ends: at the destination the VM is defined last; at the source
 * the mover holds the lock by which QEMU keeps others from writing to an image. Where a lock may not
 * be seen (block devices, which libvirt shows QEMU under names of its own) the VM's state is looked at
 * all the while.
 */
#pragma once
#include "conductor/core/move.h"

struct storage;
struct offline {
	char *looks;             /* of the source's images before, and of their times */
	struct storage *storage; /* what serves the new images at the destination; NULL: nothing */
};

/* Before they are read. */
bool offline_remember_images(struct move *move, GError **error);
/* False, with the reason, unless the VM is still off at the source. */
bool offline_check_off(struct move *move, GError **error);
/* And its images are as they were. */
bool offline_check_source(struct move *move, GError **error);
/* End what serves the new images: nobody may use them before. */
void offline_end_storage(struct move *move);
void offline_free(struct move *move);
