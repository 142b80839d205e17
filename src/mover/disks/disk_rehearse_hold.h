/* SPDX-License-Identifier: Apache-2.0 */
/* A rehearsal copies a part of the disks. Where so much of them was taken, no further write of QEMU's mirrors
 * is answered; the conductor, which is told, ends the migration meanwhile, and the connections are closed
 * with that. QEMU's cancel of a mirror waits for its writes, but the VM does not wait for either: its own
 * reads and writes go on, and no longer than HOLD_US is anything held.
 *
 * Disks that are smaller than that are copied whole. Then memory's turn comes (rehearse_hold.h), nothing is held here
 * any more, and what was copied is said at that moment.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Under the source's lock. All 0 before. */
struct disk_rehearse_hold {
	int64_t begin_us, last_us; /* of the first write and of the last one */
	uint64_t bytes;            /* of all writes that were taken; zeros are none */
	uint64_t wire_before;
	int64_t held_us; /* since when; 0: nothing is held */
	bool told;
};

struct disk_source;
/* A write of LENGTH bytes is about to be taken. False: it may not be, and the move is over. */
bool disk_rehearse_hold_take(struct disk_source *source, uint64_t length);
/* Memory's turn has come. NULL as SOURCE: there are no disks. */
void disk_rehearse_hold_whole(struct disk_source *source);
/* Bytes on the wire since the first write; 0: there was none, or no disks. */
uint64_t disk_rehearse_hold_wire(struct disk_source *source);
