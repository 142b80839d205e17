/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/outlook.h"

#include "plan/learn.h"

#include "base/json.h"

#include <math.h>

enum { CASES_MAX = 256 };

/* Libvirt's preparations and hand-shakes, the start of the destination's QEMU, the movers' end; of the
 * stop: device state, hand-over, the guest's first breath; of the bytes: device state, frames. */
static const struct learn_prior total_prior = { 1500, 1, 0.25, 0.7 };
static const struct learn_prior stop_priors[] = {
	[PLAN_LIVE] = { 20, 1, 0.35, 1 },
	[PLAN_POSTCOPY] = { 120, 1, 0.6, 1.5 },
	[PLAN_QUICK] = { 700, 1, 0.3, 1.5 },
};
_Static_assert(G_N_ELEMENTS(stop_priors) == PLAN_STRATEGY_LAST, "a prior for each strategy");
static const struct learn_prior bytes_prior = { 400e3, 0.95, 0.25, 1 };
/* After a rehearsal only the end is not known: the stop, the hand-over, what both hosts are asked then. */
static const double end_ms = 400, rehearsed_spread = 0.1, rehearsed_strength = 4;
static const double elapsed_prior_ms[] = { 900, 1500 };
static const double slowdown_range = 2; /* p90 of it */
static const double other_kind = 0.3;   /* what a move of another kind counts */

struct cases {
	struct learn_case total[CASES_MAX], stop[CASES_MAX], bytes[CASES_MAX];
	unsigned totals, stops;
	double elapsed_ms[2], elapsed_weight[2]; /* of moves that measured; by a plan */
};

static double copy_ms(const struct plan_facts *facts, const struct model_result *model)
{
	double bytes;
	return model->copy_ms + plan_disks_ms(facts, &bytes);
}

static double bytes_of(const struct plan_facts *facts, const struct model_result *model)
{
	double bytes, disks_ms = plan_disks_ms(facts, &bytes);
	double written = plan_written_bytes(facts, (disks_ms + model->copy_ms) / 1e3);
	return model->bytes + bytes + written;
}

/* A move that copies disks has a start, an end and a stop of its own kind: others teach little of it. */
static double kinship(const struct plan_facts *facts, const struct plan_facts *past)
{
	return (facts->disk_bytes > 0) == (past->disk_bytes > 0) ? 1 : other_kind;
}

static void collect(struct cases *cases, const struct plan_facts *facts,
		    enum plan_strategy strategy, const struct plan_past *past)
{
	struct model_result model = plan_model(&past->facts, past->strategy);
	double weight = learn_weight(past->same_vm, past->nearness, past->age_days) *
			kinship(facts, &past->facts);
	if (cases->totals == CASES_MAX)
		return;
	cases->bytes[cases->totals] =
		(struct learn_case){ bytes_of(&past->facts, &model), past->bytes, weight };
	cases->total[cases->totals++] =
		(struct learn_case){ copy_ms(&past->facts, &model),
				     past->total_ms - past->elapsed_ms, weight };
	if (past->strategy == strategy && past->stop_ms > 0)
		cases->stop[cases->stops++] =
			(struct learn_case){ model.stop_ms, past->stop_ms, weight };
	cases->elapsed_ms[past->planned] += weight * past->elapsed_ms;
	cases->elapsed_weight[past->planned] += weight;
}

static struct forecast_range later(struct forecast_range range, double ms)
{
	return (struct forecast_range){ range.p50 + ms, range.p90 + ms };
}

static struct learn_prior prior_of_total(const struct plan_facts *facts)
{
	if (facts->setup_ms <= 0)
		return total_prior;
	return (struct learn_prior){ facts->setup_ms + end_ms, 1, rehearsed_spread,
				     rehearsed_strength, 1 };
}

struct plan_outlook plan_look_ahead(const struct plan_facts *facts, enum plan_strategy strategy,
				    const struct plan_past *past, unsigned count, double elapsed_ms)
{
	struct plan_outlook outlook = { .strategy = strategy,
					.model = plan_model(facts, strategy) };
	g_autofree struct cases *cases = g_new0(struct cases, 1);
	for (unsigned i = 0; i < count; i++)
		collect(cases, facts, strategy, &past[i]);
	bool planned = elapsed_ms == PLAN_BY_PLAN;
	if (elapsed_ms < 0)
		elapsed_ms = (elapsed_prior_ms[planned] + cases->elapsed_ms[planned]) /
			     (1 + cases->elapsed_weight[planned]);
	struct forecast *forecast = &outlook.forecast;
	struct learn_prior prior = prior_of_total(facts);
	forecast->total_ms = later(
		learn_forecast(cases->total, cases->totals, &prior, copy_ms(facts, &outlook.model)),
		elapsed_ms);
	forecast->stop_ms = learn_forecast(cases->stop, cases->stops, &stop_priors[strategy],
					   outlook.model.stop_ms);
	forecast->bytes = learn_forecast(cases->bytes, cases->totals, &bytes_prior,
					 bytes_of(facts, &outlook.model));
	forecast->slowdown =
		(struct forecast_range){ outlook.model.slowdown,
					 fmin(outlook.model.slowdown * slowdown_range, 0.95) };
	return outlook;
}

/* ---- as JSON ---- */

static JsonObject *describe_range(struct forecast_range range, double unit)
{
	JsonObject *object = json_object_new();
	json_object_set_double_member(object, "p50", round(range.p50 / unit) * unit);
	json_object_set_double_member(object, "p90", round(range.p90 / unit) * unit);
	return object;
}

static bool read_range(struct forecast_range *range, JsonObject *object, const char *name)
{
	JsonObject *numbers = json_get_object(object, name);
	if (!numbers)
		return false;
	range->p50 = json_get_double(numbers, "p50", -1);
	range->p90 = json_get_double(numbers, "p90", -1);
	return range->p50 >= 0 && range->p90 >= range->p50;
}

JsonObject *plan_outlook_describe(const struct plan_outlook *outlook)
{
	const struct forecast *forecast = &outlook->forecast;
	JsonObject *object = json_object_new();
	json_object_set_string_member(object, "strategy", plan_strategy_name(outlook->strategy));
	json_object_set_object_member(object, "total_ms", describe_range(forecast->total_ms, 1));
	json_object_set_object_member(object, "stop_ms", describe_range(forecast->stop_ms, 1));
	json_object_set_object_member(object, "bytes", describe_range(forecast->bytes, 1));
	json_object_set_object_member(object, "slowdown",
				      describe_range(forecast->slowdown, 0.001));
	json_object_set_double_member(object, "rounds", outlook->model.rounds);
	json_object_set_boolean_member(object, "converges", outlook->model.converges);
	json_object_set_boolean_member(object, "link_bound", outlook->model.link_bound);
	return object;
}

bool plan_outlook_read(struct plan_outlook *outlook, JsonObject *object)
{
	const char *name = json_get_string(object, "strategy", "");
	*outlook = (struct plan_outlook){ .strategy = PLAN_STRATEGY_LAST };
	for (int i = 0; i < PLAN_STRATEGY_LAST; i++)
		if (g_str_equal(plan_strategy_name(i), name))
			outlook->strategy = i;
	outlook->model.converges = json_get_bool(object, "converges", true);
	return outlook->strategy != PLAN_STRATEGY_LAST &&
	       read_range(&outlook->forecast.total_ms, object, "total_ms") &&
	       read_range(&outlook->forecast.stop_ms, object, "stop_ms") &&
	       read_range(&outlook->forecast.bytes, object, "bytes") &&
	       read_range(&outlook->forecast.slowdown, object, "slowdown");
}
