/* SPDX-License-Identifier: Apache-2.0 */
/* Tells the network where the guest is: after a return to the source, because the incoming QEMU had
 * announced its addresses at the destination already (QEMU announces when it has loaded).
 *
 * The bridge learns the guest's address at its tap again, and a RARP request (RFC 903, as QEMU's
 * own self-announcement) goes out of the bridge so that switches learn it too.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

#define ANNOUNCE_TIMES 5 /* as QEMU: 50 ms, then 150, 250, ... between them */

/* TAP is the guest's network device on this host, MAC its address ("52:54:00:..."). Once. */
bool announce_guest(const char *tap, const char *mac, GError **error);
