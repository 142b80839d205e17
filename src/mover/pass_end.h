/* SPDX-License-Identifier: Apache-2.0 */
/* The end of the first pass over memory.
 *
 * There the movers' hands are full: batches that wait for a worker, a link's window. What comes next is little
 * where the VM is calm: QEMU sends a few dirty pages, looks again, finds fewer and stops the VM, all within some
 * milliseconds; and then the stop lasts until all that came before it has arrived. So QEMU is held a little before
 * that, where the VM still runs, until nothing is on its way any more. It has to be before: what
 * QEMU's socket takes (some 200 KiB) may hold the rounds that follow.
 *
 * Where post-copy is to follow the first pass, QEMU is held there, too, until it was asked for the switch: what
 * the kernel's sockets take of a slow link's data is a pass over in no time, and then it would stop the VM. What its own
 * socket takes may be the end of the pass, and the stop, if that is all zero pages: so it is held as far before.
 *
 * Later rounds wait for nothing: the limit for the stop counts what is in hand (conductor/convergence/downtime_limit.h).
 */
#pragma once
#include "content/batch.h"
#include "mover/core/transfer.h"

struct pass_end {
	bool early; /* set by the user: post-copy is to follow */
	bool near;  /* the batch that goes out now is */
	bool over;  /* nothing is waited for any more */
};

/* BATCH is about to be submitted. */
void pass_end_note(struct pass_end *end, const struct batch *batch,
		   const struct stream_reader *stream);
/* It was; waits once, and never for long. */
void pass_end_here(struct pass_end *end, struct transfer *transfer);
