/* SPDX-License-Identifier: Apache-2.0 */
/* What earlier moves showed, put on top of the model.
 *
 * For each quantity the outcome is taken for fixed + factor x model: the fixed part is that of this pair
 * of hosts, and what the model overlooks is in the factor. Both are found by ridge regression over past
 * moves, drawn to a prior (the factor by as much as a few moves weigh, the fixed part by less: it may be many times
 * the prior), so that the first forecast works and the fifth is this site's own. Moves of this VM and of this
 * pair weigh more, old ones less. What the line leaves unexplained, as ratios, gives the range.
 */
#pragma once
#include "plan/forecast.h"

#include <stdbool.h>

#define LEARN_LOOSE 0.03

/* One past move, or one rehearsal. */
struct learn_case {
	double model, outcome;
	double weight; /* learn_weight() */
};

/* What is believed before anything was seen. */
struct learn_prior {
	double fixed, factor;
	double spread;   /* standard deviation of the logarithm of outcome / forecast */
	double strength; /* as many moves of full weight */
	/* Of that, what the fixed part is held by; 0: LEARN_LOOSE. What a pair of hosts needs for any move may be
	 * many times what was believed, so a few of its moves must outweigh that, where nobody has measured it. */
	double hold;
};

/* NEARNESS of the two pairs of hosts: 1 the same, 0 none in common. */
double learn_weight(bool same_vm, double nearness, double age_days);
/* Forecast for a move of which the model says MODEL. */
struct forecast_range learn_forecast(const struct learn_case *cases, unsigned count,
				     const struct learn_prior *prior, double model);
