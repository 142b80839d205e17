/* SPDX-License-Identifier: Apache-2.0 */
/* Is it the same at both hosts? Both movers read it and the answer is in the content, never in a name, a
 * size or an identity (mover/compare/likeness.h). Only inside src/conductor. Main thread; the movers are running.
 */
#pragma once
#include "conductor/core/move.h"

enum same {
	SAME_YES,
	SAME_OTHER,
	SAME_UNKNOWN, /* it could not be read, or nothing was there to compare */
	SAME_MISSING, /* at the destination */
};

struct same_question {
	const char *here, *there; /* paths at the source and at the destination */
	bool written;             /* by a running VM meanwhile */
};

struct same_answer {
	enum same same;
	bool whole;        /* all of it was compared */
	unsigned compared; /* blocks otherwise */
	uint64_t filled;   /* so many of them hold something */
	char what[256];    /* for a person: what was found, or why nothing */
};

/* False where a mover does not answer, or on cancel. */
bool same_ask(struct move *move, const struct same_question *question, struct same_answer *answer,
	      GError **error);

/* The user says with --trust that NAME (a disk's target, "kernel"...) is the same. */
bool same_is_trusted(const struct move *move, const char *name);
/* Each --trust names a disk of the VM, or a file that it starts with. WATARI_ERROR_USAGE. */
bool same_check_trusted(const struct move *move, GError **error);
/* NAME is taken for the same although ANSWER does not prove it: said in the notes. */
void same_note_trusted(struct move *move, const char *name, const char *path,
		       const struct same_answer *answer);
