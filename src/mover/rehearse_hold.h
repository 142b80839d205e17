/* SPDX-License-Identifier: Apache-2.0 */
/* A rehearsal copies real memory and must never come to its end: QEMU ends a migration by itself as soon
 * as little enough is left, whatever its limit, and stops the VM for that. So the source's reader stops reading
 * in the first pass, in time: QEMU's writes then wait, the VM runs on, and the conductor ends it.
 *
 * "In time" is counted in pages that hold something, for a page of zeros is nine bytes on the stream, and what
 * the socket and QEMU itself have in their buffers (some hundred KiB) could be the whole rest. Where the memory
 * is read from its end, so many of them are found that no buffer holds them, the reader stops.
 *
 * The gate refuses all the same in a rehearsal (mover/core/gate.c).
 *
 * A VM that holds less than that is refused before QEMU is asked for anything: its pages of zeros would be all in the
 * socket, and the VM stopped, before a byte of them was read.
 */
#pragma once
#include "content/batch.h"
#include "mover/core/transfer.h"

/* PID: the VM's QEMU. */
bool rehearse_hold_may_begin(const struct mover_setup *settings, int pid, GError **error);
struct rehearse_hold;
/* NULL: no rehearsal. */
struct rehearse_hold *rehearse_hold_new(struct transfer *transfer);
void rehearse_hold_free(struct rehearse_hold *rehearse_hold);
/* BATCH was read and is about to be sorted. NULL as DWELL does nothing. */
void rehearse_hold_note(struct rehearse_hold *rehearse_hold, const struct batch *batch,
			const struct stream_reader *stream);
/* It was submitted. Where this is the place, say “dwelling” once all has arrived, and do not come back before
 * the move is over. */
void rehearse_hold_here(struct rehearse_hold *rehearse_hold);
