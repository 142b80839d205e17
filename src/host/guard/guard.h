/* SPDX-License-Identifier: Apache-2.0 */
/* Both libvirt connections run through relays that we own, so that a lost Finish reply can never
 * make libvirt resume the source beside a running destination.
 *
 * libvirt's client library, when the reply to Finish is lost, tells the source to resume (Confirm
 * with "cancelled"), although the destination may already run. Two rules, once the guard is armed:
 *
 *  1. The order of cuts. From the moment the Finish call (not cancelled) is passed on until its
 * whole reply has come, the destination's end counts as lost when its connection ends, fails or is
 *     closed by the library. Then the *source's* connection is cut first, nothing more is passed to
 *     it, and only after that the library sees the destination's end. The source stays paused, and
 *     move/resolve asks the destination before anything runs.
 *  2. The gate before Confirm. Whatever the library believes: a Confirm call is passed to the
 * source only when it agrees with what the destination said to Finish (ok: kill the source; error:
 *     resume it; no answer: neither). Otherwise the source is cut as above.
 *
 * Before Finish is passed a lost destination is shown as it is: the copy there cannot run, and the
 * library leaves the VM running at the source. A lost source is always shown as it is.
 * docs/guard.md has the reasoning, and the table of what each corner leaves behind.
 *
 * One thread owns all descriptors of both relays. Each relay is a unix socket in a private
 * directory (0700) that the library connects to, once, and on the other side libvirtd's socket or
 * an ssh child. All functions may be called from any thread.
 *
 * Never call virConnectSetKeepAlive on a guarded connection: the library would then end it by
 * itself (rule 2 would still hold, but needlessly at the price of a paused VM). ssh's own keepalive
 * ends a dead connection after 15 to 20 s.
 */
#pragma once
#include "host/remote/remote.h"

#include <stdint.h>

enum guard_side { GUARD_SOURCE, GUARD_DESTINATION };

struct guard;
/* Also makes the process ignore SIGPIPE (if nobody handles it). */
struct guard *guard_new(GError **error);
/* Make the relay to HOST, once for each side. Returns the libvirt URI to open, once
 * ("qemu+unix:///system?socket=..."); caller frees. */
char *guard_attach(struct guard *guard, enum guard_side side, const struct remote_shell *shell,
		   const struct host_address *host, GError **error);
/* From now on the rules hold, for one migration. Before, each side breaks by itself. */
void guard_arm(struct guard *guard);
void guard_disarm(struct guard *guard);
/* Cut the source's connection now, then the destination's (it must not be believed any more): the
 * migration call returns at once with an error. For a destination that is silent but not gone. */
void guard_cut(struct guard *guard);
/* True once a side's connection broke or was cut; *reason (may be NULL) gets why ("" if nobody
 * said), caller frees. */
bool guard_is_broken(struct guard *guard, enum guard_side side, char **reason);
/* True once the Finish call (not cancelled) has been passed on to the destination: from here on
 * there is no cancel. */
bool guard_finish_sent(struct guard *guard);
/* What the destination said to Finish. UNKNOWN: its connection does not speak plain RPC. */
enum guard_answer {
	GUARD_NOT_ASKED,  /* Finish was not passed on, or only with "cancelled" */
	GUARD_UNANSWERED, /* passed on, no reply (yet) */
	GUARD_RUNS,       /* the VM runs there */
	GUARD_FAILED,     /* the destination gave up */
	GUARD_UNKNOWN
};
enum guard_answer guard_answer(struct guard *guard);
/* TELL hears of each change of the answer while the guard is armed: UNANSWERED before the first byte of
 * Finish is passed on, UNKNOWN before anything is that cannot be read. When it returns false then,
 * that is not passed on: the destination's connection is closed instead, as one that was lost before
 * Finish. In the guard's thread and under its lock: it must be quick, and not call the guard. */
void guard_on_answer(struct guard *guard, bool (*tell)(enum guard_answer answer, void *data),
		     void *data);
void guard_free(struct guard *guard);

/* Tests: hold the reply to Finish back (arrived, not passed on) and run HOOK in the guard's thread,
 * once. The reply counts as not arrived, and never will be. */
void guard_test_hold_finish(struct guard *guard, void (*hook)(void *data), void *data);
/* Tests: the process that leads to the host; -1: none. */
pid_t guard_test_child(struct guard *guard, enum guard_side side);
