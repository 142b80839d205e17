/* SPDX-License-Identifier: Apache-2.0 */
/* A rehearsal: everything but the switchover. A real incoming VM, real disks made and a part of them copied,
 * real memory over the real link; the source's mover holds the stream in the first pass (mover/rehearse_hold.h), and
 * the migration is ended there. What was seen takes the place of what was predicted.
 *
 * Disks that are larger than the part that is wanted never come to memory's turn. So libvirt's migration is
 * ended when the source's mover holds them (mover/disks/disk_rehearse_hold.h), and a second one, by new movers and without
 * the disks' copy, is for memory. Smaller ones are copied whole, and the same migration goes on to memory.
 *
 * Only inside src/conductor; main thread. */
#pragma once
#include "conductor/core/move.h"

struct rehearsal_disks {
	int64_t open_us;      /* QEMU is at the first of them; 0: not yet */
	int64_t asked_us;     /* the source's mover was told to hold them now; 0: not */
	uint64_t wire_before; /* as was heard then */
	bool over;            /* no more of them is copied: */
	bool whole;           /* nothing was left out, for memory's turn has come, */
	bool enough;          /* or the migration is being ended for that */
	double bytes;         /* of content that was copied */
	double wire_bytes;    /* meanwhile */
	double ms;            /* from the first write on */
};

struct rehearsal {
	int64_t begin_us;     /* libvirt was asked */
	int64_t first_us;     /* QEMU's first byte came, of a disk or of memory; 0: not yet */
	int64_t connected_us; /* QEMU is at the source's mover with memory; 0: not yet */
	bool held;            /* the mover holds the stream, and all of it has arrived */
	bool asked;           /* it was told to hold now */
	double normal, zero;  /* pages that had passed by then */
	double left;          /* that were still to come, with something in them */
	double ms;            /* from the first page on */
	double wire_bytes;    /* of these pages */
	struct rehearsal_disks disks;
};

/* It was ended for its disks, so memory's part is to come. */
bool rehearsal_wants_memory(struct move *move);
/* New movers for it, and no disks are copied any more. */
bool rehearsal_renew(struct move *move, GError **error);
/* It went as it should: held, and the VM was never stopped. False with *error, or as it was. */
bool rehearsal_judge(struct move *move, GError **error);
/* {"setup_ms", "copy_ms", "pages", ...}; NULL: not held. */
JsonObject *rehearsal_describe(const struct rehearsal *rehearsal);
