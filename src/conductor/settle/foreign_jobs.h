/* SPDX-License-Identifier: Apache-2.0 */
/* Whether somebody else moves the VM just now: his job at the source, and his movers at both hosts. Whoever conducts a
 * move himself asks nothing of this. Only inside src/conductor. */
#pragma once
#include "conductor/core/move.h"

/* The source's job over many looks. Zeroed before the first. */
struct foreign_job {
	bool seen, moved; /* it was at work; and it got on since */
	uint64_t bytes;
	int64_t since_ms; /* as far as that since */
};

/* One more look at the source's VM. True: a job is at work on it that is not proven to be dead: that would be one that
 * has not got on for a while. OWN: it is that of a move of this journal, whose conductor is dead. */
bool foreign_jobs_look(struct foreign_job *job, const struct host_vm *source, bool own,
		       int64_t now_ms);
/* A mover of another move of this VM lives at one of the hosts. Turns the loop. */
bool foreign_jobs_have_movers(struct move *move);
