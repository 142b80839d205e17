/* SPDX-License-Identifier: Apache-2.0 */
/* Model and past together: the forecast, with its bounds. */
#include "forecast/outlook.h"

#include "forecast/learn.h"

#include "base/json.h"

#include <math.h>

enum { CASES_MAX = 256 };

/* Of the total: libvirt's preparations and hand-shakes, the start of the destination's QEMU, the movers' end; round
 * trips; memory; disks. */
static const struct learn_prior total_prior = {
	.factors = { 1500, 1, 1, 1 },
	.spread = 0.25,
	.strength = 0.7,
	.holds = { 0.03, 1, 1, 1 },
};
/* Of the stop: device state, hand-over, the guest's first breath; round trips; those of mirrors; memory. */
static const struct learn_prior stop_priors[] = {
	[PLAN_LIVE] = { { 20, 1, 1, 1 }, 0.35, 1, { 0.03, 0.3, 0.3, 1 } },
	[PLAN_POSTCOPY] = { { 120, 1, 1, 1 }, 0.6, 1.5, { 0.03, 1, 1, 1 } },
	[PLAN_QUICK] = { { 700, 1, 1, 1 }, 0.3, 1.5, { 0.03, 1, 1, 1 } },
};
_Static_assert(G_N_ELEMENTS(stop_priors) == PLAN_STRATEGY_LAST, "a prior for each strategy");
/* Of the bytes: device state, frames; all others. */
static const struct learn_prior bytes_prior = {
	.factors = { 400e3, 0.95 },
	.spread = 0.25,
	.strength = 1,
	.holds = { 0.03, 1 },
};
/* So much longer is the fixed part where all of the source's processors are busy: it is many short steps of programs that
 * wait for their turn. Fitted to moves of the lab. */
static const double busy_share = 1;
/* After a rehearsal only the end is not known: the stop, the hand-over, what both hosts are asked then. */
static const double end_ms = 400;
static const struct learn_prior rehearsed_prior = {
	.factors = { 0, 1, 1, 1 },
	.spread = 0.1,
	.strength = 4,
	.holds = { 1, 1, 1, 1 },
};
static const double elapsed_prior_ms[] = { 900, 1500 };
static const double elapsed_spread = 0.3; /* standard deviation, of that */
static const double slowdown_range = 2;   /* p90 of it */
static const double other_kind = 0.3;     /* what a move of another kind counts */

struct cases {
	struct learn_case total[CASES_MAX], stop[CASES_MAX], bytes[CASES_MAX];
	unsigned totals, stops;
	/* of moves that measured, and by a plan: sums */
	double elapsed_weight[2], elapsed_ms[2], elapsed_squares[2];
};

static void part_total(const struct plan_facts *facts, const struct model_result *model,
		       double parts[LEARN_PARTS])
{
	double bytes;
	parts[0] = facts->setup_ms > 0 ? 1 : 1 + busy_share * facts->hosts[0].busy;
	parts[1] = model->trips_ms;
	parts[2] = model->copy_ms - model->trips_ms;
	parts[3] = plan_disks_ms(facts, &bytes);
}

static void part_stop(const struct model_result *model, double parts[LEARN_PARTS])
{
	parts[0] = 1;
	parts[1] = model->stop_trips_ms - model->stop_mirrors_ms;
	parts[2] = model->stop_mirrors_ms;
	parts[3] = model->stop_ms - model->stop_trips_ms;
}

static void part_bytes(const struct plan_facts *facts, const struct model_result *model,
		       double parts[LEARN_PARTS])
{
	double bytes, disks_ms = plan_disks_ms(facts, &bytes);
	double written = plan_written_bytes(facts, (disks_ms + model->copy_ms) / 1e3);
	parts[0] = 1;
	parts[1] = model->bytes + bytes + written;
	parts[2] = parts[3] = 0;
}

/* A move that copies disks has a start, an end and a stop of its own kind: others teach little of it. */
static double kinship(const struct plan_facts *facts, const struct plan_facts *past)
{
	return (facts->disk_bytes > 0) == (past->disk_bytes > 0) ? 1 : other_kind;
}

static void note_elapsed(struct cases *cases, const struct plan_past *past, double weight)
{
	double ms = past->elapsed_ms;
	cases->elapsed_weight[past->planned] += weight;
	cases->elapsed_ms[past->planned] += weight * ms;
	cases->elapsed_squares[past->planned] += weight * ms * ms;
}

static void collect(struct cases *cases, const struct plan_facts *facts,
		    enum plan_strategy strategy, const struct plan_past *past)
{
	struct model_result model = plan_model(&past->facts, past->strategy);
	double weight = learn_weight(past->same_vm, past->nearness, past->age_days) *
			kinship(facts, &past->facts);
	if (cases->totals == CASES_MAX)
		return;
	struct learn_case *bytes = &cases->bytes[cases->totals];
	struct learn_case *total = &cases->total[cases->totals++];
	part_bytes(&past->facts, &model, bytes->parts);
	bytes->outcome = past->bytes;
	part_total(&past->facts, &model, total->parts);
	total->outcome = past->total_ms - past->elapsed_ms;
	bytes->weight = total->weight = weight;
	if (past->strategy == strategy && past->stop_ms > 0) {
		struct learn_case *stop = &cases->stop[cases->stops++];
		part_stop(&model, stop->parts);
		stop->outcome = past->stop_ms;
		stop->weight = weight;
	}
	note_elapsed(cases, past, weight);
}

/* Before the facts are known. */
static struct forecast_range look_before(const struct cases *cases, double elapsed_ms)
{
	bool planned = elapsed_ms == PLAN_BY_PLAN;
	double prior = elapsed_prior_ms[planned], weight = 1 + cases->elapsed_weight[planned];
	if (elapsed_ms >= 0)
		return (struct forecast_range){ elapsed_ms, elapsed_ms };
	double mean = (prior + cases->elapsed_ms[planned]) / weight;
	double squares = prior * prior * (1 + elapsed_spread * elapsed_spread) +
			 cases->elapsed_squares[planned];
	double deviation = sqrt(fmax(squares / weight - mean * mean, 0));
	return (struct forecast_range){ mean, mean + forecast_ninety * deviation };
}

/* One after the other: the middles add up, and their distances from the bounds as independent errors do. */
static struct forecast_range then(struct forecast_range before, struct forecast_range range)
{
	double first = before.p90 - before.p50, second = range.p90 - range.p50;
	double middle = before.p50 + range.p50;
	return (struct forecast_range){ middle, middle + hypot(first, second) };
}

static struct learn_prior prior_of_total(const struct plan_facts *facts)
{
	if (facts->setup_ms <= 0)
		return total_prior;
	struct learn_prior prior = rehearsed_prior;
	prior.factors[0] = facts->setup_ms + end_ms;
	return prior;
}

struct plan_outlook plan_look_ahead(const struct plan_facts *facts, enum plan_strategy strategy,
				    const struct plan_past *past, unsigned count, double elapsed_ms)
{
	struct plan_outlook outlook = { .strategy = strategy,
					.model = plan_model(facts, strategy) };
	struct forecast *forecast = &outlook.forecast;
	struct learn_prior prior = prior_of_total(facts);
	double total[LEARN_PARTS], stop[LEARN_PARTS], bytes[LEARN_PARTS];
	g_autofree struct cases *cases = g_new0(struct cases, 1);
	for (unsigned i = 0; i < count; i++)
		collect(cases, facts, strategy, &past[i]);
	part_total(facts, &outlook.model, total);
	part_stop(&outlook.model, stop);
	part_bytes(facts, &outlook.model, bytes);
	forecast->total_ms = then(look_before(cases, elapsed_ms),
				  learn_forecast(cases->total, cases->totals, &prior, total));
	forecast->stop_ms = learn_forecast(cases->stop, cases->stops, &stop_priors[strategy], stop);
	forecast->bytes = learn_forecast(cases->bytes, cases->totals, &bytes_prior, bytes);
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
