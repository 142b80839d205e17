/* SPDX-License-Identifier: Apache-2.0 */
/* A rehearsal: everything but the switchover. A real incoming VM, real disks made, real memory over the real
 * link; the source's mover holds the stream in the first pass (mover/dwell.h), and the migration is ended
 * there. What was seen takes the place of what was predicted. Only inside src/journey; main thread. */
#pragma once
#include "journey/state.h"

struct rehearsal {
	int64_t begin_us;     /* libvirt was asked */
	int64_t connected_us; /* QEMU is at the source's mover; 0: not yet */
	bool held;            /* the mover holds the stream, and all of it has arrived */
	bool asked;           /* it was told to hold now */
	double normal, zero;  /* pages that had passed by then */
	double left;          /* that were still to come, with something in them */
	double ms;            /* from the first page on */
	double wire_bytes;    /* of these pages */
};

void rehearsal_begin(struct journey *journey);
/* The source's mover says so. */
void rehearsal_note_connected(struct journey *journey);
void rehearsal_note_held(struct journey *journey, JsonObject *event);
/* Each turn of the loop: why it is to be ended, or NULL. */
const char *rehearsal_reason(struct journey *journey);
/* It went as it should: held, and the VM was never stopped. False with *error, or as it was. */
bool rehearsal_judge(struct journey *journey, GError **error);
/* {"setup_ms", "copy_ms", "pages", ...}; NULL: not held. */
JsonObject *rehearsal_describe(const struct rehearsal *rehearsal);
