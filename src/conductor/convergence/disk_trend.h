/* SPDX-License-Identifier: Apache-2.0 */
/* Does the copy of the disks come to an end? A guest that writes faster than the link carries it makes
 * as much new work as is done. Arithmetic only. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { DISK_TREND_PATIENCE_MS = 120000 };

struct disk_trend {
	uint64_t least;   /* bytes that remained at the last progress */
	int64_t least_us; /* when; 0: nothing seen yet */
};

/* One look: REMAINING bytes at AT_US. True: for PATIENCE_MS what remains has not got less. */
bool disk_trend_is_hopeless(struct disk_trend *trend, uint64_t remaining, int64_t at_us,
			    int64_t patience_ms);
