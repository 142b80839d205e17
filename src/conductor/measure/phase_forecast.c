/* SPDX-License-Identifier: Apache-2.0 */
/* The forecast, of what was measured and what earlier moves showed. A live move does not wait for it: it begins when
 * its path is ready, and what is measured by then or beside its first pass is taken as it comes. Whoever decides by
 * the forecast (a plan, a rehearsal, a move whose VM will stand still) waits. */
#include "conductor/measure/prediction.h"
#include "conductor/measure/budget.h"
#include "conductor/measure/dirty_rate.h"
#include "conductor/measure/references.h"
#include "conductor/core/movers.h"
#include "conductor/core/part.h"
#include "forecast/history.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/json.h"
#include "control/messages.h"

enum { PROBE_PATIENCE_MS = 40000, MEASURE_PATIENCE_MS = 30000 };

/* ---- the link ---- */

static JsonObject *describe_probe(const struct budget *budget)
{
	JsonObject *message = dialogue_message(MESSAGE_PROBE);
	json_object_set_int_member(message, "bytes", budget->probe_bytes);
	json_object_set_int_member(message, "ms", budget->probe_ms);
	return message;
}

static bool begin_probe(struct move *move, GError **error)
{
	const struct budget *budget = prediction_budget(move);
	movers_tell(move, MOVE_DESTINATION, describe_probe(budget));
	return dialogue_send(move->movers[MOVE_SOURCE], describe_probe(budget), error);
}

static bool end_probe(struct move *move, GError **error)
{
	g_autoptr(JsonObject) source =
		movers_wait(move, MOVE_SOURCE, MESSAGE_PROBED, PROBE_PATIENCE_MS, error);
	if (!source)
		return false;
	g_autoptr(JsonObject) destination =
		movers_wait(move, MOVE_DESTINATION, MESSAGE_PROBED, PROBE_PATIENCE_MS, error);
	if (!destination)
		return false;
	const char *reason = json_get_string(source, "reason", NULL);
	if (reason)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s", reason);
	prediction_take_probed(move->prediction, source);
	return true;
}

/* ---- from facts to a forecast ---- */

static double elapsed_ms(const struct move *move)
{
	return (double) (clock_now_us() - move->started_us) / 1e3;
}

/* In the order of the writer's queue, so before what the move comes to. */
static void note_forecast(struct move *move)
{
	struct prediction *prediction = move->prediction;
	const struct plan_outlook *outlook = &prediction->outlooks[prediction->chosen];
	g_autoptr(JsonObject) object = plan_history_describe(
		&prediction->facts, outlook, prediction->elapsed_ms, move->request->plan != NULL);
	json_object_set_double_member(object, "known_ms", prediction->known_ms);
	g_autofree char *text = json_print_object(object);
	journal_note_event(move->journal, move->report->id, "forecast", text);
}

static void make_forecast(struct move *move)
{
	struct prediction *prediction = move->prediction;
	int kind = move->request->kind;
	prediction->known_ms = elapsed_ms(move);
	prediction->chosen = prediction_choose(move->request);
	if (kind == MOVE_PLAN || kind == MOVE_REHEARSAL)
		prediction_find(move);
	if (kind != MOVE_PLAN)
		note_forecast(move);
	move->forecast = g_memdup2(&prediction->outlooks[prediction->chosen].forecast,
				   sizeof(struct forecast));
	move->report->forecast = prediction_describe(prediction);
}

static void take_measured(struct move *move, enum move_side side, JsonObject *measured)
{
	prediction_take_measured(move->prediction, side, measured);
	JsonObject *memory = json_get_object(measured, "memory");
	const char *reason = memory ? json_get_string(memory, "reason", NULL) : NULL;
	if (reason)
		move_note(move, false, _("The memory could not be sampled: %s"), reason);
}

/* ---- before the move ---- */

static bool wait_measured(struct move *move, GError **error)
{
	for (int side = 0; side < MOVE_SIDES; side++) {
		g_autoptr(JsonObject) measured =
			movers_wait(move, side, MESSAGE_MEASURED, MEASURE_PATIENCE_MS, error);
		if (!measured)
			return false;
		take_measured(move, side, measured);
	}
	return true;
}

/* What asks libvirt or the journal is done now: later nothing may block. */
static void call_know(void *data)
{
	prediction_read_vm(data);
	prediction_recall(data);
}

/* What is refused until here has sent nothing over the link. */
static bool look_at_link(struct move *move, GError **error)
{
	if (!begin_probe(move, error))
		return false;
	move_call(move, call_know, move);
	return end_probe(move, error);
}

static bool predict_before(struct move *move, GError **error)
{
	bool good = look_at_link(move, error);
	move->prediction->to_come = good && move->request->kind == MOVE_LIVE;
	good = good && (move->prediction->to_come || wait_measured(move, error));
	dirty_rate_end(move); /* always: no migration begins while QEMU counts */
	move->prediction->elapsed_ms = elapsed_ms(move);
	if (!good || move->prediction->to_come)
		return good;
	references_take(move);
	prediction_predict(move);
	return true;
}

bool phase_forecast(struct move *move, GError **error)
{
	GError *failure = NULL;
	struct prediction *prediction = move->prediction;
	if (!prediction)
		return true;
	prediction->elapsed_ms = elapsed_ms(move);
	if (!move->request->plan && !predict_before(move, &failure))
		return prediction_do_without(move, failure, error);
	if (!prediction->to_come)
		make_forecast(move);
	return true;
}

/* ---- beside it ---- */

/* A look at a VM that is stopped would say that it writes nothing: then the one before has to do. */
static JsonObject *take_newest(struct dialogue *mover, bool stops)
{
	JsonObject *before = mover && stops ? dialogue_take(mover, MESSAGE_MEASURING) : NULL;
	return before || !mover ? before : dialogue_take(mover, MESSAGE_MEASURED);
}

static bool take_both(struct move *move, bool stops)
{
	struct prediction *prediction = move->prediction;
	for (int side = 0; side < MOVE_SIDES; side++) {
		g_autoptr(JsonObject) measured =
			prediction->known[side] ? NULL : take_newest(move->movers[side], stops);
		if (measured)
			take_measured(move, side, measured);
		prediction->known[side] |= measured != NULL;
	}
	return prediction->known[MOVE_SOURCE] && prediction->known[MOVE_DESTINATION];
}

/* As soon as all is measured, or, when the VM is stopped before, of what is. */
static void tick(struct move *move, const struct job_stats_numbers *numbers)
{
	struct prediction *prediction = move->prediction;
	bool stops = move->stopped || move->still;
	if (!prediction || !prediction->to_come)
		return;
	bool whole = take_both(move, stops);
	/* the destination's part is not of the VM, and may still come */
	prediction->to_come = !whole && (!stops || prediction->known[MOVE_SOURCE]);
	if (!whole)
		return;
	references_take(move);
	prediction_predict(move);
	make_forecast(move);
}

/* What has not been predicted by now is an outcome. */
static void on_arrival(struct move *move)
{
	if (!move->prediction || move->report->forecast)
		return;
	move->prediction->to_come = false;
	move_note(move, false,
		  _("There is no forecast of this move: it was over before it was measured"));
}

static void clear(struct move *move)
{
	g_clear_pointer(&move->forecast, g_free);
	g_clear_pointer(&move->prediction, prediction_free);
}

const struct part prediction_part = {
	.name = "prediction",
	.tick = tick,
	.arrived = on_arrival,
	.clear = clear,
};
