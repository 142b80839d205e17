/* SPDX-License-Identifier: Apache-2.0 */
/* How fast may disks be copied so that the guest keeps its share of them? Arithmetic only.
 *
 * What its requests take is compared with what they took before the copy. When that is more than
 * double, the copy goes slower, by as much as it is too slow; when there is room, it goes faster again
 * step by step, in small ones where it was too fast before, until the rate is not what holds it.
 * A guest that does nothing with its disks says nothing, and holds nothing back. What is slow for
 * other reasons gets no faster however slow the copy is, so there is a least rate: a part of the most
 * that was seen.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum {
	DISK_YIELD_OPS = 10,            /* fewer between two looks say nothing */
	DISK_YIELD_BUSY_NS = 100000000, /* unless they took so long together */
	DISK_YIELD_FLOOR_NS = 500000,   /* those that took less are taken to have taken so long */
	DISK_YIELD_LEAST_RATE = 1 << 20 /* the copy must come to an end */
};

/* Sums since the VM's start. */
struct disk_yield_look {
	int64_t at_us;
	uint64_t operations, busy_ns; /* of the guest, finished; what they took together */
	uint64_t copied;              /* bytes that were taken for the copy */
};

struct disk_yield {
	uint64_t cap;       /* the user's, bytes a second; 0: none */
	uint64_t rate;      /* now; 0: none */
	double too_fast;    /* the rate that was too much the last time; 0: none was */
	double most;        /* the most that was copied in a second */
	bool slow;          /* at the last look: one alone may have other reasons */
	double baseline_ns; /* of one request before the copy; 0: unknown, and nothing is held back */
	struct disk_yield_look last;
};

/* What the guest did from BEFORE to AFTER, when nothing was copied yet. */
void disk_yield_init(struct disk_yield *yield, uint64_t cap, const struct disk_yield_look *before,
		     const struct disk_yield_look *after);
/* Two looks a second. True when the rate has changed. */
bool disk_yield_look(struct disk_yield *yield, const struct disk_yield_look *look);
