/* SPDX-License-Identifier: Apache-2.0 */
/* What earlier moves showed, put on top of the model.
 *
 * For each quantity the model gives a sum of parts: a fixed one, that hangs on the number of round trips, that
 * hangs on content. The outcome is taken for the same sum with a factor for each: the fixed part is that of this
 * pair of hosts, the others' factors are what the model overlooks. All are found by ridge regression over past moves,
 * each drawn to a prior of its own (by as much as so many moves weigh), so that the first forecast works and the
 * fifth is this site's own; and what one part explains is not learnt into another: the round trips of copied disks
 * say nothing of a move without them. Moves of this VM and of this pair weigh more, old ones less. What is left
 * unexplained, as ratios, gives the range.
 */
#pragma once
#include "forecast/forecast.h"

#include <stdbool.h>

enum { LEARN_PARTS = 4 };

/* One past move, or one rehearsal. */
struct learn_case {
	double parts[LEARN_PARTS]; /* 0: it has no such part */
	double outcome;
	double weight; /* learn_weight() */
};

/* What is believed before anything was seen. */
struct learn_prior {
	double factors[LEARN_PARTS];
	double spread;   /* standard deviation of the logarithm of outcome / forecast */
	double strength; /* as many moves of full weight */
	/* Of that, what each part is held by. Little: a few moves outweigh what was believed, such as a fixed part that
	 * nobody has measured, which may be many times that. */
	double holds[LEARN_PARTS];
};

/* NEARNESS of the two pairs of hosts: 1 the same, 0 none in common. */
double learn_weight(bool same_vm, double nearness, double age_days);
/* Forecast for a move of these PARTS. */
struct forecast_range learn_forecast(const struct learn_case *cases, unsigned count,
				     const struct learn_prior *prior,
				     const double parts[LEARN_PARTS]);
