/* SPDX-License-Identifier: Apache-2.0 */
/* The forecast, of what was measured and what earlier moves showed. A live move does not wait for it: it begins when
 * its path is ready, and what is measured by then or beside its first pass is taken as it comes. Whoever decides by
 * the forecast (a plan, a rehearsal, a move whose VM will stand still) waits. */
#include "conductor/measure/prediction.h"
#include "conductor/measure/budget.h"
#include "conductor/measure/dirty_rate.h"
#include "conductor/measure/references.h"
#include "conductor/core/movers.h"
#include "conductor/core/move.h"
#include "forecast/history.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/json.h"

enum { PROBE_PATIENCE_MS = 40000, MEASURE_PATIENCE_MS = 30000 };

/* ---- the link ---- */

static JsonObject *describe_probe(const struct care *care)
{
	JsonObject *message = dialogue_message("probe");
	json_object_set_int_member(message, "bytes", care->probe_bytes);
	json_object_set_int_member(message, "ms", care->probe_ms);
	return message;
}

static bool begin_probe(struct journey *journey, GError **error)
{
	const struct care *care = ahead_care(journey);
	movers_tell(journey, JOURNEY_DESTINATION, describe_probe(care));
	return dialogue_send(journey->movers[JOURNEY_SOURCE], describe_probe(care), error);
}

static bool end_probe(struct journey *journey, GError **error)
{
	g_autoptr(JsonObject) source =
		movers_wait(journey, JOURNEY_SOURCE, "probed", PROBE_PATIENCE_MS, error);
	if (!source)
		return false;
	g_autoptr(JsonObject) destination =
		movers_wait(journey, JOURNEY_DESTINATION, "probed", PROBE_PATIENCE_MS, error);
	if (!destination)
		return false;
	const char *reason = json_get_string(source, "reason", NULL);
	if (reason)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s", reason);
	ahead_take_probed(journey->ahead, source);
	return true;
}

/* ---- from facts to a forecast ---- */

static double elapsed_ms(const struct journey *journey)
{
	return (double) (clock_now_us() - journey->started_us) / 1e3;
}

/* In the order of the writer's queue, so before what the move comes to. */
static void note_forecast(struct journey *journey)
{
	struct ahead *ahead = journey->ahead;
	const struct plan_outlook *outlook = &ahead->outlooks[ahead->chosen];
	g_autoptr(JsonObject) object = plan_history_describe(
		&ahead->facts, outlook, ahead->elapsed_ms, journey->request->plan != NULL);
	json_object_set_double_member(object, "known_ms", ahead->known_ms);
	g_autofree char *text = json_print_object(object);
	journal_note_event(journey->journal, journey->report->id, "forecast", text);
}

static void make_forecast(struct journey *journey)
{
	struct ahead *ahead = journey->ahead;
	int kind = journey->request->kind;
	ahead->known_ms = elapsed_ms(journey);
	ahead->chosen = ahead_choose(journey->request);
	if (kind == JOURNEY_PLAN || kind == JOURNEY_REHEARSAL)
		ahead_find(journey);
	if (kind != JOURNEY_PLAN)
		note_forecast(journey);
	journey->forecast =
		g_memdup2(&ahead->outlooks[ahead->chosen].forecast, sizeof(struct forecast));
	journey->report->forecast = ahead_describe(ahead);
}

static void take_measured(struct journey *journey, enum journey_side side, JsonObject *measured)
{
	ahead_take_measured(journey->ahead, side, measured);
	JsonObject *memory = json_get_object(measured, "memory");
	const char *reason = memory ? json_get_string(memory, "reason", NULL) : NULL;
	if (reason)
		journey_note(journey, false, _("The memory could not be sampled: %s"), reason);
}

/* ---- before the move ---- */

static bool wait_measured(struct journey *journey, GError **error)
{
	for (int side = 0; side < JOURNEY_SIDES; side++) {
		g_autoptr(JsonObject) measured =
			movers_wait(journey, side, "measured", MEASURE_PATIENCE_MS, error);
		if (!measured)
			return false;
		take_measured(journey, side, measured);
	}
	return true;
}

/* What asks libvirt or the journal is done now: later nothing may block. */
static void call_know(void *data)
{
	ahead_read_vm(data);
	ahead_recall(data);
}

/* What is refused until here has sent nothing over the link. */
static bool look_at_link(struct journey *journey, GError **error)
{
	if (!begin_probe(journey, error))
		return false;
	journey_call(journey, call_know, journey);
	return end_probe(journey, error);
}

static bool predict_before(struct journey *journey, GError **error)
{
	bool good = look_at_link(journey, error);
	journey->ahead->to_come = good && journey->request->kind == JOURNEY_LIVE;
	good = good && (journey->ahead->to_come || wait_measured(journey, error));
	dirtied_end(journey); /* always: no migration begins while QEMU counts */
	journey->ahead->elapsed_ms = elapsed_ms(journey);
	if (!good || journey->ahead->to_come)
		return good;
	references_take(journey);
	ahead_predict(journey);
	return true;
}

bool phase_forecast(struct journey *journey, GError **error)
{
	GError *failure = NULL;
	struct ahead *ahead = journey->ahead;
	if (!ahead)
		return true;
	ahead->elapsed_ms = elapsed_ms(journey);
	if (!journey->request->plan && !predict_before(journey, &failure))
		return ahead_do_without(journey, failure, error);
	if (!ahead->to_come)
		make_forecast(journey);
	return true;
}

/* ---- beside it ---- */

/* A look at a VM that is stopped would say that it writes nothing: then the one before has to do. */
static JsonObject *take_newest(struct dialogue *mover, bool stops)
{
	JsonObject *before = mover && stops ? dialogue_take(mover, "measuring") : NULL;
	return before || !mover ? before : dialogue_take(mover, "measured");
}

static bool take_both(struct journey *journey, bool stops)
{
	struct ahead *ahead = journey->ahead;
	for (int side = 0; side < JOURNEY_SIDES; side++) {
		g_autoptr(JsonObject) measured =
			ahead->known[side] ? NULL : take_newest(journey->movers[side], stops);
		if (measured)
			take_measured(journey, side, measured);
		ahead->known[side] |= measured != NULL;
	}
	return ahead->known[JOURNEY_SOURCE] && ahead->known[JOURNEY_DESTINATION];
}

void ahead_tick(struct journey *journey)
{
	struct ahead *ahead = journey->ahead;
	bool stops = journey->stopped || journey->still;
	if (!ahead || !ahead->to_come)
		return;
	bool whole = take_both(journey, stops);
	/* the destination's part is not of the VM, and may still come */
	ahead->to_come = !whole && (!stops || ahead->known[JOURNEY_SOURCE]);
	if (!whole)
		return;
	references_take(journey);
	ahead_predict(journey);
	make_forecast(journey);
}

void ahead_end(struct journey *journey)
{
	if (!journey->ahead || journey->report->forecast)
		return;
	journey->ahead->to_come = false;
	journey_note(journey, false,
		     _("There is no forecast of this move: it was over before it was measured"));
}
