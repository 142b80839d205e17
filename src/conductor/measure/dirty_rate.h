/* SPDX-License-Identifier: Apache-2.0 */
/* How many pages a guest *dirties*, counted by QEMU for one second through its dirty log. A sample of the
 * memory sees only what has *changed*; QEMU's rounds follow what was written, and much is written that
 * stays as it was.
 *
 * Only for KVM: QEMU 7.2 crashes when it is asked that of an emulated guest (TCG). And only where counting
 * touches QEMU alone: a device whose backend is outside of it would have to log along, and a QEMU ends
 * when one does not want to. So in doubt nothing is asked.
 *
 * Only for a plan and a rehearsal, beside their looks at the memory, which take longer. A move does not ask:
 * it would write-protect the guest's memory, and have KVM break up its huge pages, for a number that its
 * own first round gives, and it would have to wait for the end, as QEMU must not count for two at once.
 *
 * Only inside src/conductor; main thread.
 */
#pragma once
#include "host/xml.h"

struct move;

/* Of the VM as libvirt describes it while it runs, at a host of these versions (host.h). */
bool dirty_rate_may_ask(struct xml *vm, unsigned long libvirt_version, unsigned long qemu_version);
/* QEMU begins to count; it ends by itself, whatever becomes of us. */
void dirty_rate_begin(struct move *move);
/* Waits for the end if it must; the rate goes into the facts. */
void dirty_rate_end(struct move *move);
