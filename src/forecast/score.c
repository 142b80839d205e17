/* SPDX-License-Identifier: Apache-2.0 */
/* Compares forecasts with outcomes. */
#include "forecast/score.h"

#include <math.h>
#include <stdlib.h>

static const char *const names[] = {
	[SCORE_TOTAL] = "total_ms",
	[SCORE_STOP] = "stop_ms",
	[SCORE_BYTES] = "bytes",
};
_Static_assert(G_N_ELEMENTS(names) == SCORE_LAST, "every quantity has a name");

const char *score_quantity_name(enum score_quantity quantity)
{
	return names[quantity];
}

double score_outcome(const struct score_case *one, enum score_quantity quantity)
{
	const double values[] = { one->outcome.total_ms, one->outcome.stop_ms, one->outcome.bytes };
	return values[quantity];
}

struct forecast_range score_said(const struct score_case *one, enum score_quantity quantity)
{
	const struct forecast *said = &one->said.forecast;
	const struct forecast_range ranges[] = { said->total_ms, said->stop_ms, said->bytes };
	return ranges[quantity];
}

static int compare_values(const void *a, const void *b)
{
	double x = *(const double *) a, y = *(const double *) b;
	return (x > y) - (x < y);
}

static double median(double *values, unsigned count)
{
	if (count == 0)
		return 0;
	qsort(values, count, sizeof(*values), compare_values);
	return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

struct score score_all(const struct score_case *cases, unsigned count, enum score_quantity quantity)
{
	struct score score = { 0 };
	g_autofree double *errors = g_new0(double, count + 1);
	for (unsigned i = 0; i < count; i++) {
		double outcome = score_outcome(&cases[i], quantity);
		struct forecast_range said = score_said(&cases[i], quantity);
		if (outcome < 0 || said.p50 <= 0)
			continue;
		double ratio = outcome / said.p50;
		errors[score.count++] = fabs(ratio - 1);
		score.within_p90 += outcome <= said.p90;
		score.within_half += ratio <= 1.5 && ratio >= 1 / 1.5;
	}
	score.median_error = median(errors, score.count);
	score.within_p90 /= MAX(score.count, 1);
	score.within_half /= MAX(score.count, 1);
	return score;
}
