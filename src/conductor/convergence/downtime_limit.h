/* SPDX-License-Identifier: Apache-2.0 */
/* When may QEMU stop the VM? The arithmetic of its downtime limit, without libvirt and without a
 * clock.
 *
 * QEMU stops the VM when what remains is less than its own measured bandwidth x its limit. It
 * measures how fast its socket takes bytes, and whatever is cheap to send (zero runs, references, an
 * empty window) is taken at GB/s, while the pages that are left in the end are not. So its limit
 * stays at LIMIT_LEAST_MS, where only a VM that hardly changes its memory comes to an end, and is
 * raised only from here:
 *
 *  - What takes no more than a moment (RULE_EASY_MS) may be left at any time: each round more costs the
 *    VM a look at its dirty pages, under QEMU's big lock.
 *  - As long as the rounds get smaller, wait: a later stop is a shorter one.
 *  - Once they do not, find how long the best one of late would take: pages by the measured drain of
 *    dirty pages, plus what is in flight, plus a round trip. When that fits the target, let QEMU stop
 *    at the next round that is about as small as the best: a local minimum.
 *  - Where post-copy follows the first pass, no stop before it is wanted: nothing is raised.
 *  - The target begins at a downtime that nobody minds (LIMIT_COMFORT_MS) and grows with each round
 *    that got no smaller, up to what the user's ceiling leaves.
 *
 * Samples come from polling, and inside a round they form a saw-tooth: only the size of whole rounds
 * counts, worked out from what was sent between two looks.
 */
#pragma once
#include "forecast/rules.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	LIMIT_LEAST_MS = 1,
	LIMIT_COMFORT_MS = 50,
	LIMIT_ROUNDS = 8, /* so many rounds are remembered */
};

/* One look at the running migration. */
struct limit_sample {
	int64_t at_us;
	int iteration;         /* 1: the first pass */
	uint64_t remaining;    /* bytes of dirty pages */
	uint64_t sent;         /* bytes of guest memory sent so far, zero pages counted as pages */
	uint64_t whole;        /* of that, without the zero pages */
	double qemu_rate;      /* bytes a second, as QEMU measured it; 0: unknown */
	double link_rate;      /* bytes a second that the other mover consumes; 0: unknown */
	uint64_t in_flight;    /* packed bytes between QEMU and what the other mover has consumed */
	double carried;        /* bytes a second of QEMU's that the link carries now; 0: unknown */
	double wire_rate;      /* bytes a second on the wire when it was busy; 0: unknown */
	int64_t round_trip_us; /* between the movers */
};

enum limit_reason {
	LIMIT_EASY,   /* what is not worth another round, at the rates as they are now */
	LIMIT_FLAT,   /* the rounds get no smaller, and the best fits */
	LIMIT_MISSED, /* no round came as near to the best as was waited for */
	LIMIT_RATE,   /* the same memory, but QEMU's bandwidth changed */
	LIMIT_REASON_LAST
};
const char *limit_reason_name(enum limit_reason reason); /* stable word */

/* A decision, with all it stands on. */
struct limit_change {
	int64_t limit_ms; /* for QEMU */
	enum limit_reason reason;
	int iteration, flat_rounds;
	uint64_t bytes;      /* of dirty pages that QEMU may leave to the stop */
	double drain;        /* of dirty pages, bytes a second */
	double qemu_rate;    /* what the limit was worked out with */
	double predicted_ms; /* from the stop to the last page's arrival */
	double target_ms;    /* what it had to fit */
};

/* One that has begun: what it has to send was dirtied while the one before was sent. */
struct limit_round {
	int iteration;
	double bytes;
	double seconds; /* of the one before; 0: unknown */
	double drain;   /* bytes a second */
};

/* All that is remembered between looks. */
struct limit {
	int64_t ceiling_ms;
	double top_ms;
	int64_t easy_ms, limit_ms;
	struct limit_sample last;
	int64_t round_us; /* when a look last saw a new round */
	bool looked;
	bool held; /* set by the user: nothing is raised */
	double drain;
	double rounds[LIMIT_ROUNDS]; /* sizes in bytes, the newest at (count - 1) % LIMIT_ROUNDS */
	unsigned count;
	int flat, misses;
	int steps;      /* of the target */
	double allowed; /* bytes; 0: not decided yet */
	double predicted_ms, target_ms;
	int at_top;
	int64_t top_since_us;
	struct limit_round round; /* the newest */
	bool fresh_round;         /* set with it; the reader clears it */
};

/* CEILING_MS is the user's; of it, RESERVE_MS come after the last page (libvirt's hand-over). What takes no
 * more than EASY_MS may be left at any time: RULE_EASY_MS where few rounds are not worth more than a short
 * stop. */
void limit_init(struct limit *limit, int64_t ceiling_ms, int64_t reserve_ms, int64_t easy_ms);
/* The ceiling is lower from now on. */
void limit_lower(struct limit *limit, int64_t ceiling_ms, int64_t reserve_ms);
/* True with *change when QEMU's limit should be set anew. */
bool limit_look(struct limit *limit, const struct limit_sample *sample,
		struct limit_change *change);
/* The target has been at its most for long, and no round fits: it will not end by itself. */
bool limit_is_hopeless(const struct limit *limit);
/* From the stop to the last page's arrival, with BYTES of dirty pages left. */
double limit_predict_ms(const struct limit *limit, const struct limit_sample *sample, double bytes);
/* Bytes: the smallest round of late; infinite where there was none. */
double limit_best_round(const struct limit *limit);
/* The VM is not what it was (it is slowed down): its rounds so far say nothing any more. */
void limit_forget(struct limit *limit);
