/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/learn.h"

#include <math.h>

enum { FITS = 4 };

struct line {
	double fixed, factor;
};

static const double usual_off = 0.3; /* of the logarithm */
static const double other_vm = 0.6, other_pair = 0.15, half_life_days = 30;
/* That quantile of Student's t distribution, about: ninety + few / degrees of freedom. */
static const double ninety = 1.2816, few = 0.95;
static const double floor_share = 0.3; /* of the prior: no forecast is below that part of it */

double learn_weight(bool same_vm, double nearness, double age_days)
{
	return (same_vm ? 1 : other_vm) * (other_pair + (1 - other_pair) * nearness) *
	       exp2(-fmax(age_days, 0) / half_life_days);
}

/* Where the line leaves a case far aside it counts less: one move on a bad day must not spoil the forecasts. */
static double trust(const struct learn_case *one, const struct line *line)
{
	double expected = fmax(line->fixed + line->factor * one->model, 1e-3);
	double off = fabs(log(fmax(one->outcome, 1e-3) / expected));
	return off <= usual_off ? 1 : usual_off / off;
}

/* Errors count in proportion to what was to be expected: a second matters for a move of two, not for one of
 * an hour. In units of the prior, so that neither coefficient is drawn to it for its unit's sake. */
static struct line fit_once(const struct learn_case *cases, unsigned count,
			    const struct learn_prior *prior, const struct line *last)
{
	double hold = prior->hold > 0 ? prior->hold : LEARN_LOOSE;
	double aa = prior->strength * hold, bb = prior->strength, ab = 0, ay = 0, by = 0;
	for (unsigned i = 0; i < count; i++) {
		double expected = prior->fixed + prior->factor * cases[i].model;
		double scale = cases[i].weight * trust(&cases[i], last) / (expected * expected);
		double a = prior->fixed, b = prior->factor * cases[i].model;
		double y = cases[i].outcome - expected;
		aa += scale * a * a;
		bb += scale * b * b;
		ab += scale * a * b;
		ay += scale * a * y;
		by += scale * b * y;
	}
	double determinant = aa * bb - ab * ab;
	double da = (ay * bb - by * ab) / determinant, db = (by * aa - ay * ab) / determinant;
	return (struct line){ prior->fixed * (1 + da), prior->factor * (1 + db) };
}

static struct line fit(const struct learn_case *cases, unsigned count,
		       const struct learn_prior *prior)
{
	struct line line = { prior->fixed, prior->factor };
	for (int i = 0; i < FITS; i++)
		line = fit_once(cases, count, prior, &line);
	return line;
}

static double expect(const struct line *line, const struct learn_prior *prior, double model)
{
	double least = floor_share * fmin(prior->fixed, prior->fixed + prior->factor * model);
	return fmax(line->fixed + line->factor * model, fmax(least, 1e-3));
}

struct forecast_range learn_forecast(const struct learn_case *cases, unsigned count,
				     const struct learn_prior *prior, double model)
{
	struct line line = fit(cases, count, prior);
	double sum = prior->strength * prior->spread * prior->spread, weight = prior->strength;
	for (unsigned i = 0; i < count; i++) {
		double off =
			log(fmax(cases[i].outcome, 1e-3) / expect(&line, prior, cases[i].model));
		sum += cases[i].weight * off * off;
		weight += cases[i].weight;
	}
	/* The line itself is uncertain by about as much as one case in all of them. */
	double deviation = sqrt(sum / weight * (1 + 2 / (1 + weight)));
	double middle = expect(&line, prior, model);
	return (struct forecast_range){ middle,
					middle * exp((ninety + few / (1 + weight)) * deviation) };
}
