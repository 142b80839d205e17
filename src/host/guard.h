/* SPDX-License-Identifier: Apache-2.0 */
/* Both libvirt connections run through relays that we own, so that a lost Finish reply can never
 * make libvirt resume the source beside a running destination.
 *
 * libvirt's client library, when the reply to Finish is lost, tells the source to resume (Confirm
 * with "cancelled"), although the destination may already run. So when the destination's connection
 * breaks once the guard is armed, the guard cuts the *source's* first, before the library can see
 * anything, and only then lets the destination's end show. The source then stays paused, and
 * journey/resolve asks the destination before anything runs.
 *
 * One thread owns all descriptors of both relays. Each relay is a unix socket in a private directory
 * (0700) that the library connects to, and on the other side libvirtd's socket or an ssh child.
 */
#pragma once
#include "host/remote.h"

#include <stdint.h>

enum guard_side { GUARD_SOURCE, GUARD_DESTINATION };

struct guard;
struct guard *guard_new(GError **error);
/* Make the relay to HOST. Returns the libvirt URI to open ("qemu+unix:///system?socket=..."). */
char *guard_attach(struct guard *guard, enum guard_side side, const struct remote_shell *shell,
		   const struct host_address *host, GError **error);
/* From now on the order of cutting holds. Before, each side breaks by itself. */
void guard_arm(struct guard *guard);
void guard_disarm(struct guard *guard);
/* Cut the source's connection now (the destination must not be believed any more). */
void guard_cut(struct guard *guard);
/* True once a side's connection broke; *reason (may be NULL) gets ssh's words, caller frees. */
bool guard_is_broken(struct guard *guard, enum guard_side side, char **reason);
/* True once the Finish call has been passed on to the destination: from here on there is no cancel. */
bool guard_finish_sent(struct guard *guard);
void guard_free(struct guard *guard);

/* Tests: hold the reply to Finish back (arrived, not passed on) and run HOOK in the guard's thread. */
void guard_test_hold_finish(struct guard *guard, void (*hook)(void *data), void *data);
