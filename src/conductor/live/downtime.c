/* SPDX-License-Identifier: Apache-2.0 */
/* What of libvirt's word about the standstill can be true. See downtime.h. */
#include "conductor/live/downtime.h"

#include <math.h>

enum { ROUNDING_MS = 2 }; /* of two clocks, each in whole milliseconds */

static bool can_be(const struct downtime_sight *sight, double ms, double slack_ms)
{
	return ms >= 0 && ms + slack_ms >= (double) sight->least_ms &&
	       ms <= (double) sight->most_ms;
}

int64_t downtime_choose(const struct downtime_sight *sight)
{
	double slack_ms = ROUNDING_MS + (double) sight->round_trip_ms / 2;
	double corrected = fmax((double) sight->whole_ms - sight->apart_ms, 0);
	bool agrees = sight->net_ms < 0 || corrected + slack_ms >= (double) sight->net_ms;
	if (sight->whole_ms >= 0 && sight->apart_known && agrees &&
	    can_be(sight, corrected, slack_ms))
		return llround(corrected);
	if (sight->net_ms >= 0 && can_be(sight, (double) sight->net_ms, slack_ms))
		return sight->net_ms;
	return -1;
}
