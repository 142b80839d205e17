/* SPDX-License-Identifier: Apache-2.0 */
/* What is different from the switch to post-copy on. Until then the VM is whole at the source, and
 * closing a socket brings it back there; afterwards neither host has all of it, and closing a socket
 * only pauses it. So from the moment that the stream shows the switch:
 *
 *  - nothing breaks it off: no limit of the standstill, no cancel, no conductor that is gone (the mover
 *    stays until the last page is there), no link that is dark for less than POSTCOPY_DARK_MS;
 *  - the package, with which the VM can run at the destination, leaves the source's mover only when
 *    QEMU has written something behind it. A QEMU whose write of the package fails runs the VM again at
 *    the source by itself; once it has come to the next command it does not.
 *
 * Any thread, but for run_postcopy_expect().
 */
#pragma once
#include "mover/core/transfer.h"

#define POSTCOPY_DARK_MS (24 * 3600 * 1000)

/* The switch has begun, or this mover was started to recover from a broken one; and it was not broken
 * off. */
bool transfer_in_postcopy(struct transfer *transfer);
/* The source's QEMU has closed its stream. True, after a moment if need be: the destination's said that it has
 * all of it, so that is no failure. libvirt may end the source's QEMU before the movers have compared. */
bool transfer_is_farewell(struct transfer *transfer);
/* With each look at the stream. */
void transfer_note_postcopy(struct transfer *transfer, const struct stream_stats *stats);
/* The conductor is about to ask for the switch: this side may hear of it only when the link is back. */
void transfer_expect_postcopy(struct transfer *transfer);
