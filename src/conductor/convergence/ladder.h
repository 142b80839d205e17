/* SPDX-License-Identifier: Apache-2.0 */
/* What is done when the rounds get no smaller: the ladder of a live move, without libvirt and without a
 * clock. downtime_limit.h decides when QEMU may stop the VM within the ceiling; this decides what comes when
 * no such moment is in sight:
 *
 *   wait -> limit (downtime_limit.h) -> effort (the movers' own) -> throttle -> post-copy -> stop
 *
 * It looks at whole rounds only. Three sizes in a row say where they lead (Aitken): v*, the size at
 * which as much is dirtied as is sent. When v* at the drain of dirty pages takes CLEAR times what the
 * ceiling leaves, no patience helps: that is known at the beginning of the third round. Where it is
 * not so clear, limit_is_hopeless() has the patience.
 *
 * From two rounds of different length and the model D(t) = W (1 - exp(-t/tau)) follows how fast the VM
 * really dirties its memory (W/tau), although a page that is dirtied twice in a round counts once; and
 * from that, what would have been needed.
 */
#pragma once
#include "conductor/convergence/downtime_limit.h"

enum ladder_step {
	LADDER_WAIT,
	LADDER_EFFORT, /* nothing is to be done: the movers take what pays by themselves */
	LADDER_THROTTLE,
	LADDER_POSTCOPY,
	LADDER_STOP,
	LADDER_STEP_LAST
};
const char *ladder_step_name(enum ladder_step step); /* stable word */

struct ladder_rules {
	int max_slowdown;    /* percent; 0: none */
	bool postcopy;       /* allowed */
	bool postcopy_first; /* wanted: after the first pass */
};

struct ladder_decision {
	enum ladder_step step;
	int iteration;
	double size, before; /* bytes of the newest round and of the one before it; 0: unknown */
	double plateau;      /* v*; 0: not known */
	double dirty_rate;   /* bytes a second; 0: unknown */
	double drain;        /* of dirty pages, bytes a second */
	double predicted_ms; /* the stop, at the plateau */
	double room_ms;      /* what the ceiling leaves for it */
	int slowdown;        /* percent that is wanted from now on */
	/* STOP: what would do. 0: it would not, or not known */
	int64_t needed_downtime_ms;
	double needed_rate;
	int needed_slowdown;
};

enum { LADDER_SIZES = 3 };

struct ladder {
	struct ladder_rules rules;
	double sizes[LADDER_SIZES]; /* the newest at the end; 0: none */
	double times[LADDER_SIZES]; /* seconds in which that much was dirtied; 0: unknown */
	int rounds;                 /* since the last step up */
	bool clear;                 /* no patience helps */
	int64_t told_us;
	int slowdown; /* wanted */
	bool effort_said;
	bool followed;     /* QEMU throttles as it is wanted */
	int throttle_wait; /* rounds in which it has not yet */
	bool ended;        /* post-copy or stop was decided */
	double dirty_rate; /* the best guess so far */
};

void ladder_init(struct ladder *ladder, const struct ladder_rules *rules);
/* After limit_look() of the same SAMPLE. THROTTLE is the percentage that QEMU applies now. True with
 * *decision when there is one. A step up makes LIMIT forget its rounds. */
bool ladder_look(struct ladder *ladder, struct limit *limit, const struct limit_sample *sample,
		 int throttle, struct ladder_decision *decision);
/* The permission for post-copy was taken back. */
void ladder_forbid_postcopy(struct ladder *ladder);
