/* SPDX-License-Identifier: Apache-2.0 */
/* Tells a copy of disks that ends from one that never does. */
#include "conductor/convergence/disk_trend.h"

/* Less by this is progress, on the slowest of links too; what remains swings with the guest's writes,
 * but does not for long swing lower and lower. */
enum { WORTHWHILE = 1 << 20 };

bool disk_trend_is_hopeless(struct disk_trend *trend, uint64_t remaining, int64_t at_us,
			    int64_t patience_ms)
{
	bool less = remaining + WORTHWHILE <= trend->least;
	if (trend->least_us == 0 || less) {
		trend->least = remaining;
		trend->least_us = at_us;
	}
	return remaining > 0 && at_us - trend->least_us >= patience_ms * 1000;
}
