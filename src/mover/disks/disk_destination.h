/* SPDX-License-Identifier: Apache-2.0 */
/* The destination's side of disks: what came for them is carried out in order, by the emitter's thread,
 * on the exports of the destination's QEMU; and blocks are read back where something refers to them.
 *
 * A thread of its own takes in what became of operations and flushes once a second. What fails, even
 * late, refuses the move.
 */
#pragma once
#include "content/resolver.h"
#include "mover/pipeline/decoders.h"
#include "mover/core/transfer.h"

struct disk_destination;
/* Starts its thread; run->disk_destination is what it returns, also when it fails. */
struct disk_destination *disk_destination_start(struct transfer *transfer, GError **error);
/* Nothing more will come. */
void disk_destination_finish(struct disk_destination *destination);
/* After its threads have ended. */
void disk_destination_free(struct disk_destination *destination);

/* Everything that was carried out is on stable storage: the gate's last question, in case that something was
 * written after the last flush. NULL as DESTINATION: there is nothing. Any thread. */
bool disk_destination_flush(struct disk_destination *destination, GError **error);
/* Resolves, checks and carries out a BATCH_DISK or BATCH_ORDER. False: the move was refused. The
 * emitter's. */
bool disk_destination_emit(struct disk_destination *destination, struct resolver *resolver,
			   const struct decoded *decoded);

/* Reads what the ITEM_DISK of BATCH mean, and tags it: data is set, and length where the content is the
 * one that was meant. Any thread, ahead of the order; what was not there yet (length 0) is read again by
 * disk_destination_settle(), when it is the batch's turn. NULL as DESTINATION: no disks. */
void disk_destination_fetch(struct disk_destination *destination, struct batch *batch,
			    struct tag_context *pages);
/* False: the move was refused. The emitter's. */
bool disk_destination_settle(struct disk_destination *destination, struct batch *batch);
