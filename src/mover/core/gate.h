/* SPDX-License-Identifier: Apache-2.0 */
/* The gate: SHUT 0 from the destination QEMU ("loaded, still paused") does not reach the source
 * QEMU before both movers agree. Refusing costs the guest a pause; releasing wrongly costs the VM.
 *
 *   source mover                           destination mover
 *   AGREE {frames} ----------------------> waits until it has emitted as many
 *   <------------------------------------- AGREED {frames, bytes, chain}
 *   COMPARE {block, bytes, ...} ---------> reads the paused QEMU's memory     (if asked for)
 *   <------------------------------------- TAGS, or NO {reason}
 *   RELEASED ---------------------------->
 *
 * Besides, the conductor must be there to carry the hand-over on (conductor_check.h).
 * The messages are frames of LINK_TALK; their kind is in the frame's flags.
 */
#pragma once
#include "mover/core/transfer.h"

enum talk_kind { TALK_AGREE = 1, TALK_AGREED, TALK_COMPARE, TALK_TAGS, TALK_NO, TALK_RELEASED };

/* Source: SHUT 0 has come. True: released (the phase is TRANSFER_RELEASED). Blocks. */
bool gate_pass(struct transfer *transfer);
/* Destination: answer until the link ends. */
void gate_answer(struct transfer *transfer);
