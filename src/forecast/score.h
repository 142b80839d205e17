/* SPDX-License-Identifier: Apache-2.0 */
/* How good forecasts were. */
#pragma once
#include "forecast/history.h"

/* One move that was predicted and ended well. */
struct score_case {
	struct plan_past outcome;
	struct plan_outlook said;
};

/* Of one quantity, over all cases. */
struct score {
	unsigned count;
	double median_error; /* |outcome / p50 - 1| */
	double within_p90;   /* part of the outcomes that were not above p90 */
	double within_half;  /* part between 2/3 and 3/2 of p50 */
};

enum score_quantity { SCORE_TOTAL, SCORE_STOP, SCORE_BYTES, SCORE_LAST };
const char *score_quantity_name(enum score_quantity quantity); /* stable word, as in reports */
/* What came of it, and what was said; outcome < 0: not known. */
double score_outcome(const struct score_case *one, enum score_quantity quantity);
struct forecast_range score_said(const struct score_case *one, enum score_quantity quantity);
struct score score_all(const struct score_case *cases, unsigned count,
		       enum score_quantity quantity);
