/* SPDX-License-Identifier: Apache-2.0 */
/* The source's side of disks: the NBD server to which QEMU mirrors, and what becomes of its requests.
 *
 * Writes and zeros are answered as soon as they are in the encoders' hands: what is under way is
 * bounded by their batches and by the link's window. A flush, and a write that asks for it, is
 * answered when the destination has flushed, and only if both sides' digests of the disk agree; reads
 * come from the destination. All orders and blocks travel in one order with each other and with
 * memory, so a page may name a block that was sent before it.
 *
 * Threads: one that accepts, one for each connection, one for the destination's answers.
 */
#pragma once
#include "mover/core/transfer.h"

struct disk_source;
/* Starts its threads; run->disk_source is what it returns, also when it fails. */
struct disk_source *disk_source_start(struct transfer *transfer, GError **error);
/* Are references to disks worth while now? To be called before something is sorted, with run->sorting. NULL as
 * SOURCE: there are none. */
void disk_source_judge(struct disk_source *source);
/* At most so many bytes a second of what QEMU writes are taken, so that its reading of the disk leaves the
 * guest its share; 0: no cap. Any thread, any time. */
void disk_source_set_rate(struct disk_source *source, uint64_t rate);
/* Nothing more is accepted, and who is connected gets no answer any more. Any thread, any time. */
void disk_source_break(struct disk_source *source);
/* After its threads have ended. */
void disk_source_free(struct disk_source *source);
/* For the statistics. */
JsonArray *disk_source_describe(struct disk_source *source);
