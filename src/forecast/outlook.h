/* SPDX-License-Identifier: Apache-2.0 */
/* The forecast of a move: the model, and what earlier moves add to it. */
#pragma once
#include "forecast/forecast.h"
#include "forecast/model.h"

/* A move that ended well, as far as a forecast can learn from it. The model is asked again with the facts
 * that were known then: so what an older model said does not matter. */
struct plan_past {
	struct plan_facts facts;
	enum plan_strategy strategy;
	bool same_vm;
	double nearness;              /* of the two pairs of hosts (forecast/learn.h) */
	char hosts[FACTS_HOSTS][256]; /* their own names */
	double age_days;
	bool planned;                    /* by a plan: nothing was measured then */
	double elapsed_ms;               /* from the command's start to when the facts were known */
	double total_ms, stop_ms, bytes; /* what came of it; stop_ms < 0: not known */
};

/* A strategy, and what it would cost. */
struct plan_outlook {
	enum plan_strategy strategy;
	struct model_result model;
	struct forecast forecast;
};

/* ELAPSED_MS: since the command began; or the move is to come, and will measure by itself, or be carried out
 * by a plan. */
enum { PLAN_BY_ITSELF = -1, PLAN_BY_PLAN = -2 };
struct plan_outlook plan_look_ahead(const struct plan_facts *facts, enum plan_strategy strategy,
				    const struct plan_past *past, unsigned count,
				    double elapsed_ms);

/* {"strategy", "total_ms": {"p50", "p90"}, "stop_ms", "bytes", "slowdown", "rounds", "converges",
 * "link_bound"}, and back (the model's numbers are not read). */
JsonObject *plan_outlook_describe(const struct plan_outlook *outlook);
bool plan_outlook_read(struct plan_outlook *outlook, JsonObject *object);
