/* SPDX-License-Identifier: Apache-2.0 */
/* The memory proof: at the gate both QEMUs are paused, so their guest memory can be read and
 * compared: a sample of pages, or all of it.
 *
 * It is end to end: it would find a page that the source QEMU failed to send as well as one that
 * the destination QEMU failed to store. RAM blocks are found in the QEMU process by their length
 * (content/../mover/guest_memory.h); a block that cannot be told from another is not compared, and
 * the report says so.
 */
#pragma once
#include "mover/core/transfer.h"

/* Source: compare as the settings ask. True: equal, or nothing was asked. Posts "verified". */
bool proof_compare(struct transfer *transfer, GError **error);
/* Destination: answer one COMPARE. */
bool proof_answer(struct transfer *transfer, JsonObject *request, GError **error);
