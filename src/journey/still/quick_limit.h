/* SPDX-License-Identifier: Apache-2.0 */
/* Will the rest arrive before --max-stop is over? The arithmetic, without libvirt and without a clock.
 *
 * What remains shrinks unevenly: runs of zeros in no time, pages at the link's rate. So two rates are
 * taken, since the stop and of late, and the better one counts; and one bad look is not believed.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum {
	QUICK_SETTLE_MS = 500, /* nothing is said before, nor before a tenth of the limit */
	QUICK_LATE_MS = 500,   /* “of late” */
	QUICK_BAD_LOOKS = 3,   /* in a row */
};

struct quick_look {
	int64_t at_us; /* 0: none yet */
	uint64_t remaining;
};

struct quick_limit {
	int64_t stopped_us, limit_ms; /* limit_ms 0: none */
	struct quick_look first, mark;
	double late_rate; /* bytes a second up to the mark; 0: not known */
	unsigned bad;
	int64_t needed_ms; /* of the whole stop, as the last look has it; 0: not known */
};

void quick_limit_init(struct quick_limit *limit, int64_t stopped_us, int64_t limit_ms);
/* REMAINING bytes of memory at NOW. True when the limit will be missed. */
bool quick_limit_look(struct quick_limit *limit, int64_t now_us, uint64_t remaining);
