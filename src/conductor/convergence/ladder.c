/* SPDX-License-Identifier: Apache-2.0 */
/* The ladder; see ladder.h. */
#include "conductor/convergence/ladder.h"

#include <glib.h>
#include <math.h>

enum {
	TELL_US = 1000 * 1000, /* “wait” is said not more often */
	THROTTLE_PATIENCE = 4, /* rounds until QEMU follows: it takes two */
	FLAT_SHORT = 8,        /* short rounds that got no smaller, before they are believed */
	THROTTLE_LEAST = 10,   /* percent: less is no step */
	BISECTIONS = 40,
};
static const double clear_factor = 2;     /* of the room: so far beyond it, no patience helps */
static const double near_plateau = 0.8;   /* the newest round is as near to v* */
static const double apart = 0.05;         /* two rounds must differ by that part to be compared */
static const double long_s = 1;           /* a round that is measured well between polls */
static const double steady = 0.97;        /* of the round before: it is the plateau */
static const double throttle_share = 0.5; /* of the drain: QEMU's own threshold */
static const double most_tau = 4;         /* a round of so many tau is full */
static const double wanted_share = 0.7;   /* of the drain: what may be dirtied, and still shrink */

static const char *const step_names[] = {
	[LADDER_WAIT] = "wait",         [LADDER_EFFORT] = "effort", [LADDER_THROTTLE] = "throttle",
	[LADDER_POSTCOPY] = "postcopy", [LADDER_STOP] = "stop",
};
_Static_assert(G_N_ELEMENTS(step_names) == LADDER_STEP_LAST, "every step has a name");

const char *ladder_step_name(enum ladder_step step)
{
	return step_names[step];
}

void ladder_init(struct ladder *ladder, const struct ladder_rules *rules)
{
	*ladder = (struct ladder){ .rules = *rules };
}

void ladder_forbid_postcopy(struct ladder *ladder)
{
	ladder->rules.postcopy = ladder->rules.postcopy_first = false;
}

/* ---- what the rounds say ---- */

static void push_round(struct ladder *ladder, double size, double seconds)
{
	for (int i = 1; i < LADDER_SIZES; i++) {
		ladder->sizes[i - 1] = ladder->sizes[i];
		ladder->times[i - 1] = ladder->times[i];
	}
	ladder->sizes[LADDER_SIZES - 1] = size;
	ladder->times[LADDER_SIZES - 1] = seconds;
	ladder->rounds++;
}

static double newest(const struct ladder *ladder)
{
	return ladder->sizes[LADDER_SIZES - 1];
}

static double before(const struct ladder *ladder)
{
	return ladder->sizes[LADDER_SIZES - 2];
}

/* Where three sizes lead; 0: not known, or nowhere but down. */
static double plateau_of(const struct ladder *ladder)
{
	double a = ladder->sizes[0], b = ladder->sizes[1], c = ladder->sizes[2];
	if (a <= 0 || b <= 0 || c <= 0)
		return 0;
	if (c >= b * steady)
		return c;
	double bend = (c - b) - (b - a); /* how much less it shrank than before */
	double limit = bend > 0 ? c - (c - b) * (c - b) / bend : 0;
	return limit >= c * near_plateau ? limit : 0;
}

/* D(t1) = first, D(t2) = second: W/tau, for 0 < tau < infinity; what they say at least where they do
 * not fit the model. */
static double fit_rate(double t1, double first, double t2, double second)
{
	double least = fmax(first / t1, second / t2);
	double low = 0.01, high = most_tau;
	/* x = t1/tau; the ratio falls or grows with x as t2 is shorter or longer than t1 */
	double wanted = second / first;
	if (fabs(t2 / t1 - 1) < apart || fmin(t1, t2) < long_s)
		return least;
	for (int i = 0; i < BISECTIONS; i++) {
		double x = (low + high) / 2;
		double ratio = (1 - exp(-x * t2 / t1)) / (1 - exp(-x));
		if ((ratio < wanted) == (t2 < t1))
			low = x;
		else
			high = x;
	}
	double x = (low + high) / 2;
	return fmax(least, first / (1 - exp(-x)) * x / t1);
}

static void learn_dirty_rate(struct ladder *ladder)
{
	double t1 = ladder->times[1], t2 = ladder->times[2];
	if (t2 < long_s)
		return;
	double rate = newest(ladder) / t2;
	/* the first two differ most, and later ones only add their noise */
	if (t1 > 0 && ladder->slowdown == 0 && ladder->rounds == LADDER_SIZES)
		rate = fit_rate(t1, before(ladder), t2, newest(ladder));
	if (ladder->slowdown > 0)
		rate *= ladder->followed ? 100.0 / (100 - ladder->slowdown) : 0;
	ladder->dirty_rate = fmax(ladder->dirty_rate, rate);
}

/* The first pass is a round too, of what the link would have carried meanwhile. */
static void learn_slope(struct ladder *ladder, const struct limit *limit)
{
	double drain = limit->round.drain;
	if (ladder->rounds == 0 && limit->round.iteration == 2 && limit->round.seconds > 0)
		push_round(ladder, drain * limit->round.seconds, 0);
	push_round(ladder, limit->round.bytes, limit->round.seconds);
	learn_dirty_rate(ladder);
}

/* ---- the decision ---- */

static void describe_rung(const struct ladder *ladder, const struct limit *limit, int iteration,
			  struct ladder_decision *decision)
{
	double plateau = plateau_of(ladder);
	double expected = plateau > 0 ? plateau : newest(ladder);
	*decision = (struct ladder_decision){
		.step = LADDER_WAIT,
		.iteration = iteration,
		.size = newest(ladder),
		.before = before(ladder),
		.plateau = plateau,
		.dirty_rate = ladder->dirty_rate,
		.drain = limit->round.drain,
		.predicted_ms = limit_predict_ms(limit, &limit->last, expected),
		.room_ms = limit->top_ms,
		.slowdown = ladder->slowdown,
	};
}

/* By its pages alone: a long round trip is no reason to give up a VM that dirties little. */
static bool is_far(const struct ladder_decision *decision, double bytes)
{
	return decision->drain > 0 &&
	       bytes / decision->drain * 1e3 > clear_factor * decision->room_ms;
}

/* Polling measures short rounds badly, and they cost little: there it takes some that got no smaller. */
static bool judge_rounds(const struct ladder *ladder, const struct limit *limit,
			 const struct ladder_decision *decision)
{
	if (ladder->times[LADDER_SIZES - 1] >= long_s)
		return decision->plateau > 0 && is_far(decision, decision->plateau);
	return limit->flat >= FLAT_SHORT && is_far(decision, limit_best_round(limit));
}

static void say_needs(struct ladder_decision *decision, double top_share)
{
	double rate = decision->dirty_rate;
	decision->needed_downtime_ms = (int64_t) ceil(decision->predicted_ms * 1.2 / top_share);
	/* fast enough that the rounds shrink, or that the plateau fits */
	double fits = decision->room_ms > 0
			      ? decision->drain * decision->predicted_ms / decision->room_ms * 1.2
			      : 0;
	double shrinks = rate / wanted_share;
	decision->needed_rate = rate > 0 ? fmin(fmax(shrinks, decision->drain * 1.1), fits) : fits;
	if (rate > 0)
		decision->needed_slowdown =
			(int) ceil((1 - wanted_share * decision->drain / rate) * 100);
	if (decision->needed_slowdown <= 0 || decision->needed_slowdown > 95)
		decision->needed_slowdown = 0;
}

/* Half of what is permitted, then all of it. */
static int next_slowdown(const struct ladder *ladder)
{
	int most = ladder->rules.max_slowdown;
	int half = MIN(MAX((most + 1) / 2, THROTTLE_LEAST), most);
	return ladder->slowdown < half ? half : most;
}

static void start_anew(struct ladder *ladder, struct limit *limit)
{
	double size = newest(ladder);
	for (int i = 0; i < LADDER_SIZES; i++)
		ladder->sizes[i] = ladder->times[i] = 0;
	ladder->sizes[LADDER_SIZES - 1] = size;
	ladder->rounds = 1;
	ladder->clear = false;
	limit_forget(limit);
}

static void climb(struct ladder *ladder, struct limit *limit, struct ladder_decision *decision)
{
	if (!ladder->effort_said) {
		ladder->effort_said = true;
		decision->step = LADDER_EFFORT;
	} else if (ladder->slowdown < ladder->rules.max_slowdown) {
		decision->step = LADDER_THROTTLE;
		decision->slowdown = ladder->slowdown = next_slowdown(ladder);
		ladder->throttle_wait = 0;
		ladder->followed = false;
		start_anew(ladder, limit);
	} else {
		decision->step = ladder->rules.postcopy ? LADDER_POSTCOPY : LADDER_STOP;
		ladder->ended = true;
		if (decision->step == LADDER_STOP)
			say_needs(decision, limit->top_ms / (double) limit->ceiling_ms);
	}
}

/* QEMU throttles from the beginning of the third round on, if it is allowed to by then: so with the
 * user's permission the first step is decided one round early. */
static bool is_throttled_early(const struct ladder *ladder, const struct ladder_decision *decision)
{
	return ladder->slowdown == 0 && ladder->rules.max_slowdown > 0 && ladder->rounds == 2 &&
	       before(ladder) > 0 && decision->size > throttle_share * before(ladder) &&
	       is_far(decision, decision->size);
}

/* Rounds that QEMU has not throttled yet say nothing of the step, and the first that it has was dirtied
 * before. */
static bool waits_for_throttle(struct ladder *ladder, struct limit *limit, int throttle)
{
	if (ladder->followed || ladder->slowdown == 0)
		return false;
	ladder->followed =
		throttle >= ladder->slowdown || ++ladder->throttle_wait >= THROTTLE_PATIENCE;
	start_anew(ladder, limit);
	return true;
}

static bool may_tell(struct ladder *ladder, const struct limit_sample *sample)
{
	if (ladder->told_us && sample->at_us - ladder->told_us < TELL_US)
		return false;
	ladder->told_us = sample->at_us;
	return true;
}

bool ladder_look(struct ladder *ladder, struct limit *limit, const struct limit_sample *sample,
		 int throttle, struct ladder_decision *decision)
{
	bool fresh = limit->fresh_round;
	limit->fresh_round = false;
	if (ladder->ended)
		return false;
	if (fresh)
		learn_slope(ladder, limit);
	bool waits = fresh && waits_for_throttle(ladder, limit, throttle);
	describe_rung(ladder, limit, sample->iteration, decision);
	if (ladder->rules.postcopy_first && sample->iteration > 1) {
		decision->step = LADDER_POSTCOPY;
		ladder->ended = true;
		return true;
	}
	if (fresh && !waits)
		ladder->clear = judge_rounds(ladder, limit, decision);
	if (limit_is_hopeless(limit) || ladder->clear) {
		climb(ladder, limit, decision);
		return true;
	}
	if (fresh && is_throttled_early(ladder, decision)) {
		ladder->effort_said = true;
		climb(ladder, limit, decision);
		return true;
	}
	return fresh && may_tell(ladder, sample);
}
