/* SPDX-License-Identifier: Apache-2.0 */
/* While disks are copied: looks twice a second at how long the guest's own requests take, and lets the
 * source's mover take less for the copy when they take too long (disk_yield.h). A thread asks libvirt;
 * the rest is the main thread's. Only inside src/conductor. */
#pragma once
#include "conductor/convergence/disk_yield.h"
#include "conductor/core/move.h"

/* Asks libvirt now. Blocks; any thread. False, and nothing in *look, if it cannot say. */
bool disk_watch_ask(virDomainPtr domain, GPtrArray *disks, struct disk_yield_look *look);

struct disk_watch;
/* move->disks_before is what was seen before. NULL where nothing is to be held back. */
struct disk_watch *disk_watch_new(struct move *move);
/* Now and then. COPYING: memory has not begun; with it the disks' last writes must not wait. */
void disk_watch_tick(struct disk_watch *watch, bool copying);
void disk_watch_free(struct disk_watch *watch);
