/* SPDX-License-Identifier: Apache-2.0 */
/* Tells the network where the guest is: after a return to the source, because the incoming QEMU had
 * announced its addresses at the destination already (QEMU announces when it has loaded).
 *
 * The bridge learns the guest's address at its tap again, and a RARP request (RFC 903, as QEMU's
 * own self-announcement) goes out of the bridge so that switches learn it too.
 */
#pragma once
#include "base/json.h"

/* The message "announce" of docs/control.md: each guest once now, and again from the main loop. Returns
 * the answer. */
JsonObject *announce_do(JsonObject *message);
