/* SPDX-License-Identifier: Apache-2.0 */
/* How fast does the guest write to the disks that are copied? By libvirt's counters: read when measuring
 * begins and again when somebody wants to know, so a forecast waits for nothing.
 *
 * Where it writes faster than the copy may go, the copy would never end, so its writes must wait for the
 * destination from the beginning: QEMU cannot change that later. Only under a cap is that asked, and
 * only then is there a least time between the two looks.
 */
#pragma once
#include "conductor/core/move.h"

/* The first look, at all disks: it is not known yet which ones are copied. Blocks. */
void disk_rate_begin(struct move *move);
/* Bytes a second since then, to the copied ones; 0: none, or nothing is known. Blocks. */
double disk_rate_until_now(struct move *move);
/* The same for disk_rate_decide(), after what is left of the least time; 0 without a cap. Blocks. */
double disk_rate_under_cap(struct move *move);
/* Sets move->sync_writes, and says so. Main thread. */
void disk_rate_decide(struct move *move, double rate);
