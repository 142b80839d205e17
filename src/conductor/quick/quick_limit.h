/* SPDX-License-Identifier: Apache-2.0 */
/* Will the rest arrive before --max-stop is over? The arithmetic, without libvirt and without a clock.
 *
 * What remains shrinks unevenly: runs of zeros in no time, pages at the link's rate. So two rates are
 * taken, since the stop and of late, and the better one counts; and one bad look is not believed.
 * While nothing goes at all (the link is cut, or somebody hangs) no rate is learned: what was lost is
 * lost, but the link may come back as fast as it was.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum {
	QUICK_SETTLE_MS = 500, /* seen before anything is said, and a tenth of the limit */
	QUICK_LATE_MS = 500,   /* “of late” */
	QUICK_BAD_LOOKS = 3,   /* in a row */
	QUICK_SILENT_MS = 700, /* when nothing went for longer, that time is no part of a rate */
};

struct quick_look {
	int64_t at_us; /* 0: none yet */
	uint64_t remaining;
};

struct quick_limit {
	int64_t stopped_us, limit_ms;  /* limit_ms 0: none */
	struct quick_look first, mark; /* as if silences had not been */
	struct quick_look moved;       /* the last at which something had gone */
	int64_t silent_us;             /* of all silences: nothing is seen in them */
	bool silent;                   /* nothing goes, and has not for a while */
	double late_rate;              /* bytes a second up to the mark; 0: not known */
	double rate;                   /* the better one, when something last went */
	unsigned bad;
	int64_t needed_ms; /* of the whole stop, as the last look has it; 0: not known */
};

void quick_limit_init(struct quick_limit *limit, int64_t stopped_us, int64_t limit_ms);
/* REMAINING bytes of memory at NOW. True when the limit will be missed. */
bool quick_limit_look(struct quick_limit *limit, int64_t now_us, uint64_t remaining);
