/* SPDX-License-Identifier: Apache-2.0 */
/* How fast does the guest write to the disks that are copied? Where it writes faster than the copy may
 * go, the copy would never end, so its writes must wait for the destination from the beginning: QEMU
 * cannot change that later. Without a cap nobody asks, and nothing is measured. */
#pragma once
#include "journey/state.h"

struct disk_rate {
	uint64_t before;  /* bytes */
	int64_t start_us; /* 0: nothing is measured */
};
/* Other work may be done in between; end waits for what is left of the time. Both block. */
void disk_rate_begin(struct journey *journey, struct disk_rate *rate);
double disk_rate_end(struct journey *journey, const struct disk_rate *rate); /* bytes a second */
/* Sets journey->sync_writes, and says so. Main thread. */
void disk_rate_decide(struct journey *journey, double rate);
