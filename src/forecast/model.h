/* SPDX-License-Identifier: Apache-2.0 */
/* What a move should take, worked out from the facts alone. Nothing here was learnt: what earlier moves
 * showed is put on top by forecast/learn.h, and therefore the fixed parts of a move (connections, libvirt's
 * hand-shakes, loading the device state) are not in here at all.
 *
 * Pre-copy as in the literature (docs/methods.md): a first pass over all memory, then rounds over what
 * was dirtied during the round before, until little enough is left or the rounds do not shrink; but with a
 * dirty rate that saturates (forecast/dirty.h), and with rates of their own for the first pass and for
 * later rounds, where changed pages travel as changes.
 */
#pragma once
#include "forecast/facts.h"

enum plan_strategy {
	PLAN_LIVE,     /* pre-copy */
	PLAN_POSTCOPY, /* one pass, then the VM runs at the destination */
	PLAN_QUICK,    /* it stands still for one pass */
	PLAN_STRATEGY_LAST
};
const char *plan_strategy_name(enum plan_strategy strategy); /* stable word */

/* Of the memory only, from the first page to the last. */
struct model_result {
	double copy_ms; /* all of it, the stop included */
	double stop_ms; /* memory's part of the stop */
	/* of these, what hangs on the number of round trips: of the whole move; of the stop; and of that, what the
	 * mirrors of copied disks add */
	double trips_ms, stop_trips_ms, stop_mirrors_ms;
	double bytes;    /* on the wire */
	double slowdown; /* of the VM meanwhile, 0..1 */
	double rounds;
	bool converges;   /* the stop fits the ceiling */
	bool link_bound;  /* of the first pass: the link is the limit, not the hosts */
	double needed_ms; /* a ceiling that would do; 0: none (it stays as it is) */
};

struct model_result plan_model(const struct plan_facts *facts, enum plan_strategy strategy);
/* Bytes of disks that travel before the memory, and how long that takes. */
double plan_disks_ms(const struct plan_facts *facts, double *bytes);
/* Bytes on the wire for what the guest writes to them while it is moved, in SECONDS. */
double plan_written_bytes(const struct plan_facts *facts, double seconds);
