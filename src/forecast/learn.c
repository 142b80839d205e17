/* SPDX-License-Identifier: Apache-2.0 */
/* Ridge regression over past moves. */
#include "forecast/learn.h"

#include <math.h>
#include <string.h>

enum { FITS = 4 };

struct line {
	double factors[LEARN_PARTS];
};

static const double usual_off = 0.3; /* of the logarithm */
static const double other_vm = 0.6, other_pair = 0.15, half_life_days = 30;
/* That quantile of Student's t distribution, about: forecast_ninety + few / degrees of freedom. */
static const double few = 0.95;
static const double floor_share = 0.3; /* of the prior: no forecast is below that part of it */

double learn_weight(bool same_vm, double nearness, double age_days)
{
	return (same_vm ? 1 : other_vm) * (other_pair + (1 - other_pair) * nearness) *
	       exp2(-fmax(age_days, 0) / half_life_days);
}

static double sum(const double factors[LEARN_PARTS], const double parts[LEARN_PARTS])
{
	double all = 0;
	for (int i = 0; i < LEARN_PARTS; i++)
		all += factors[i] * parts[i];
	return all;
}

/* Where the line leaves a case far aside it counts less: one move on a bad day must not spoil the forecasts. */
static double trust(const struct learn_case *one, const struct line *line)
{
	double expected = fmax(sum(line->factors, one->parts), 1e-3);
	double off = fabs(log(fmax(one->outcome, 1e-3) / expected));
	return off <= usual_off ? 1 : usual_off / off;
}

/* The system of linear equations A x = Y, which is positive definite; x takes Y's place. */
static void solve(double a[LEARN_PARTS][LEARN_PARTS], double y[LEARN_PARTS])
{
	for (int i = 0; i < LEARN_PARTS; i++)
		for (int row = i + 1; row < LEARN_PARTS; row++) {
			double times = a[row][i] / a[i][i];
			for (int k = i; k < LEARN_PARTS; k++)
				a[row][k] -= times * a[i][k];
			y[row] -= times * y[i];
		}
	for (int i = LEARN_PARTS - 1; i >= 0; i--) {
		for (int k = i + 1; k < LEARN_PARTS; k++)
			y[i] -= a[i][k] * y[k];
		y[i] /= a[i][i];
	}
}

/* Errors count in proportion to what was to be expected: a second matters for a move of two, not for one of
 * an hour. In units of the prior, so that no factor is drawn to it for its unit's sake. */
static struct line fit_once(const struct learn_case *cases, unsigned count,
			    const struct learn_prior *prior, const struct line *last)
{
	double a[LEARN_PARTS][LEARN_PARTS] = { { 0 } }, off[LEARN_PARTS] = { 0 };
	struct line line;
	for (int i = 0; i < LEARN_PARTS; i++)
		a[i][i] = fmax(prior->strength * prior->holds[i], 1e-6);
	for (unsigned n = 0; n < count; n++) {
		const struct learn_case *one = &cases[n];
		double expected = sum(prior->factors, one->parts);
		double scale = one->weight * trust(one, last) / (expected * expected);
		for (int i = 0; i < LEARN_PARTS; i++) {
			double part = scale * prior->factors[i] * one->parts[i];
			off[i] += part * (one->outcome - expected);
			for (int k = 0; k < LEARN_PARTS; k++)
				a[i][k] += part * prior->factors[k] * one->parts[k];
		}
	}
	solve(a, off);
	for (int i = 0; i < LEARN_PARTS; i++)
		line.factors[i] = prior->factors[i] * fmax(1 + off[i], 0);
	return line;
}

static struct line fit(const struct learn_case *cases, unsigned count,
		       const struct learn_prior *prior)
{
	struct line line;
	memcpy(line.factors, prior->factors, sizeof(line.factors));
	for (int i = 0; i < FITS; i++)
		line = fit_once(cases, count, prior, &line);
	return line;
}

static double expect(const struct line *line, const struct learn_prior *prior,
		     const double parts[LEARN_PARTS])
{
	double fixed = prior->factors[0] * parts[0];
	double least = floor_share * fmin(fixed, sum(prior->factors, parts));
	return fmax(sum(line->factors, parts), fmax(least, 1e-3));
}

struct forecast_range learn_forecast(const struct learn_case *cases, unsigned count,
				     const struct learn_prior *prior,
				     const double parts[LEARN_PARTS])
{
	struct line line = fit(cases, count, prior);
	double squares = prior->strength * prior->spread * prior->spread;
	double weight = prior->strength;
	for (unsigned i = 0; i < count; i++) {
		double off =
			log(fmax(cases[i].outcome, 1e-3) / expect(&line, prior, cases[i].parts));
		squares += cases[i].weight * off * off;
		weight += cases[i].weight;
	}
	/* The line itself is uncertain by about as much as one case in all of them. */
	double deviation = sqrt(squares / weight * (1 + 2 / (1 + weight)));
	double middle = expect(&line, prior, parts);
	return (struct forecast_range){
		middle, middle * exp((forecast_ninety + few / (1 + weight)) * deviation)
	};
}
