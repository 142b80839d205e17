/* SPDX-License-Identifier: Apache-2.0 */
/* Post-copy: the VM is stopped, its devices' state goes over, it runs at the destination, and the rest
 * of its memory follows: page by page what it asks for, and everything else in between. From the
 * switch to the last page NO host alone has the whole VM: nothing can be cancelled, and what breaks is
 * mended, never undone.
 *
 *   postcopy_begin()            libvirt is asked (in a thread); the movers are told before
 *   event "postcopy"            the source's mover has seen that the destination may run it
 *   postcopy_holds()            from here to the end
 *   postcopy_renew()            a mover died: new ones, then QEMU's own recovery through libvirt
 *
 * Only inside src/conductor; main thread.
 */
#pragma once
#include "conductor/core/move.h"

/* Ask for the switch, in the middle of the migration; the numbers that are known go into the journal.
 * True: it is asked for, or was already; whether libvirt does it shows later. False: not permitted, or
 * not now. */
bool postcopy_begin(struct move *move, GError **error);
/* After it: wait for libvirt's answer to the question for the switch. */
void postcopy_join(struct move *move);
/* The source's mover says so: the switch is seen. */
void postcopy_note_switched(struct move *move);
/* libvirt may be done before the movers have compared what they sent: wait for that. */
void postcopy_await_proof(struct move *move);

/* It is broken, and libvirt's call does not end: a QEMU whose main thread waits for a page answers nobody
 * (docs/design.md). */
bool postcopy_is_stuck(const struct move *move);
/* libvirt's call has ended, the movers may go on: until the last page is there (true) or it is broken. */
bool postcopy_wait(struct move *move);
/* Both movers close QEMU's sockets, as the first step of a recovery. */
void postcopy_let_go(struct move *move, const char *reason);
/* The migration ended in the middle. True: there are new movers with a link, and libvirt may be asked to
 * go on (VIR_MIGRATE_POSTCOPY_RESUME). False with WATARI_ERROR_ATTENTION after many tries. */
bool postcopy_renew(struct move *move, GError **error);
/* Ends in words for the person what no try has mended. BEFORE: why it is broken, or NULL. */
void postcopy_give_up(struct move *move, const char *before, GError **error);
void postcopy_free(struct move *move);
