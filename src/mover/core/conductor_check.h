/* SPDX-License-Identifier: Apache-2.0 */
/* Is the conductor awake? Once the source's QEMU has its SHUT, only the conductor's libvirt calls lead on,
 * and nothing leads back: one that hangs (stopped, swapped out, its machine dead) leaves the VM
 * standing until libvirt gives its client up, some 30 s later. So the gate is not passed before it
 * has answered a question that was asked while the VM stood. No clock of another host counts: an answer
 * has the number of its question.
 *
 *   source mover                           conductor
 *   event "ask-awake" {n} ---------------> its main loop reads it
 *   <------------------------------------- awake {n}
 *
 * The question travels while both movers agree, so it costs only what its way is longer than theirs.
 */
#pragma once
#include "mover/core/transfer.h"

/* Ask; the answer is waited for later. */
void conductor_check_ask(struct transfer *transfer);
/* There is an answer that is fresh; if need be it is asked again. False: none in time (with *error), or
 * the move was refused meanwhile. */
bool conductor_check_wait(struct transfer *transfer, GError **error);
/* The conductor has answered question NUMBER. Main thread. */
void conductor_check_answered(struct transfer *transfer, int64_t number);
