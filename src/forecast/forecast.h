/* SPDX-License-Identifier: Apache-2.0 */
/* What is expected of a move, before it moves. */
#pragma once

/* As likely below as above, and what nine of ten stay below. */
struct forecast_range {
	double p50, p90;
};

/* That quantile of the normal distribution, in standard deviations. */
static const double forecast_ninety = 1.2816;

struct forecast {
	struct forecast_range total_ms; /* from the command's start to its end */
	struct forecast_range stop_ms;  /* the longest time in which the VM stands still */
	struct forecast_range bytes;    /* on the wire, from source to destination */
	struct forecast_range slowdown; /* of the VM while it moves: 0.2 is a fifth slower */
};
