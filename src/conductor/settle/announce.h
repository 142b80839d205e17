/* SPDX-License-Identifier: Apache-2.0 */
/* The destination's QEMU may have told the network that the guest is there, as soon as it had loaded it. When the VM
 * goes on at the source after all, the source's mover puts that right; a fresh one if the old one is gone. What fails
 * is a note to the user: the network learns it from the guest's next packet anyway. */
#pragma once
#include "conductor/core/move.h"

/* HOST is the source, asked for the VM's interfaces where they are not known yet; or NULL. */
void announce_at_source(struct move *move, struct host *host);
