/* SPDX-License-Identifier: Apache-2.0 */
/* Fits the law of a guest's writes to looks at its memory. */
#include "forecast/dirty.h"

#include <math.h>
#include <stdbool.h>

/* Times that are tried for tau, each so many times the one before. */
static const double tau_least = 0.02, tau_most = 60, tau_step = 1.05;
/* Of times that explain the looks equally well, the one nearest to this; looks that are all late say little of it. */
static const double tau_usual = 0.3;
static const double equally = 0.05; /* squares of errors, each by its own noise */
/* A look at few pages is uncertain by so many, whatever else. */
static const double noise_pages = 4;

static double weight_of(const struct dirty_look *look)
{
	double noise = noise_pages + 0.05 * look->pages;
	return 1 / (noise * noise);
}

static double error_of(const struct dirty_model *model, const struct dirty_look *looks,
		       unsigned count)
{
	double sum = 0;
	for (unsigned i = 0; i < count; i++) {
		double off = dirty_pages(model, looks[i].seconds) - looks[i].pages;
		sum += off * off * weight_of(&looks[i]);
	}
	return sum;
}

/* The best set and stream for this tau: both are linear, and neither is less than nothing. */
static struct dirty_model solve_for_tau(const struct dirty_look *looks, unsigned count, double tau)
{
	double ff = 0, ft = 0, tt = 0, fy = 0, ty = 0;
	for (unsigned i = 0; i < count; i++) {
		double t = looks[i].seconds, f = 1 - exp(-t / tau), w = weight_of(&looks[i]);
		ff += w * f * f;
		ft += w * f * t;
		tt += w * t * t;
		fy += w * f * looks[i].pages;
		ty += w * t * looks[i].pages;
	}
	double determinant = ff * tt - ft * ft;
	struct dirty_model model = { ff > 0 ? fy / ff : 0, tau, 0 };
	if (determinant > 1e-9 * ff * tt) {
		double set = (fy * tt - ty * ft) / determinant;
		double stream = (ty * ff - fy * ft) / determinant;
		if (set >= 0 && stream >= 0)
			model = (struct dirty_model){ set, tau, stream };
		else if (stream > 0)
			model = (struct dirty_model){ 0, tau, ty / tt };
	}
	return model;
}

static double least_error(const struct dirty_look *looks, unsigned count)
{
	double least = INFINITY;
	for (double tau = tau_least; tau <= tau_most; tau *= tau_step) {
		struct dirty_model model = solve_for_tau(looks, count, tau);
		least = fmin(least, error_of(&model, looks, count));
	}
	return least;
}

struct dirty_model dirty_fit(const struct dirty_look *looks, unsigned count)
{
	struct dirty_model best = { 0, tau_usual, 0 };
	double least = least_error(looks, count), nearest = INFINITY;
	for (double tau = tau_least; tau <= tau_most && count > 0; tau *= tau_step) {
		struct dirty_model model = solve_for_tau(looks, count, tau);
		double far = fabs(log(tau / tau_usual));
		if (far >= nearest || error_of(&model, looks, count) > least + equally)
			continue;
		nearest = far;
		best = model;
	}
	return best;
}

double dirty_pages(const struct dirty_model *model, double seconds)
{
	return model->set * (1 - exp(-seconds / model->tau)) + model->stream * seconds;
}
