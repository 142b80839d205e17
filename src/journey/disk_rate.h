/* SPDX-License-Identifier: Apache-2.0 */
/* How fast does the guest write to the disks that will be copied? QEMU's way of mirroring cannot be
 * changed once it has begun. Only inside src/journey. */
#pragma once
#include "journey/state.h"

/* Bytes a second over the next moment, which this takes. Blocks; in any thread. 0: nothing, or it
 * cannot be known. */
double disk_rate_measure(struct journey *journey);
/* Decide `journey->sync_writes` by the rate and the cap, and say why. Main thread. */
void disk_rate_decide(struct journey *journey, double rate);
