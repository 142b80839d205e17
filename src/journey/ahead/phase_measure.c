/* SPDX-License-Identifier: Apache-2.0 */
/* What is measured before anything moves: by the movers link, hosts and the guest's memory; through libvirt
 * what it writes to its disks, and, if a second may be spent on it, to its memory. A move waits for it as
 * little as it can: the looks go on while the next phases run, and the forecast is made last. What cannot
 * be measured is said, and is no reason not to move. */
#include "journey/ahead/ahead.h"
#include "journey/ahead/dirtied.h"
#include "journey/ahead/references.h"
#include "journey/disks/disk_rate.h"
#include "journey/movers.h"
#include "journey/state.h"
#include "plan/history.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/json.h"

enum { CLOCK_MS = 5000, PROBE_PATIENCE_MS = 40000, MEASURE_PATIENCE_MS = 30000 };

/* How much may be spent on knowing it. */
struct care {
	int64_t probe_bytes, probe_ms;
	int64_t windows_ms[2];
	int64_t scan_ms; /* of the images, beside the looks */
};
static const struct care care_plan = { 64 << 20, 1500, { 1000, 4000 }, 4000 };
static const struct care care_move = { 512 << 10, 250, { 250, 900 }, 800 };
/* Its stop is all of it, and is asked about beforehand. */
static const struct care care_quick = { 32 << 20, 600, { 250, 900 }, 800 };

static const struct care *care_of(const struct journey *journey)
{
	int kind = journey->request->kind;
	if (kind == JOURNEY_QUICK)
		return &care_quick;
	return kind == JOURNEY_PLAN || kind == JOURNEY_REHEARSAL ? &care_plan : &care_move;
}

static void begin_looks(struct journey *journey, enum journey_side side)
{
	JsonObject *message = dialogue_message("measure");
	JsonArray *windows = json_array_new();
	for (size_t i = 0; i < G_N_ELEMENTS(care_plan.windows_ms); i++)
		json_array_add_int_element(windows, care_of(journey)->windows_ms[i]);
	json_object_set_array_member(message, "windows_ms", windows);
	json_object_set_array_member(message, "images", references_list_images(journey));
	if (side == JOURNEY_SOURCE) {
		json_object_set_array_member(message, "memories", ahead_list_memories(journey));
		json_object_set_int_member(message, "scan_ms", care_of(journey)->scan_ms);
	}
	movers_tell(journey, side, message);
}

static bool ask_clock(struct journey *journey, enum journey_side side, GError **error)
{
	int64_t asked_us = g_get_real_time(), begin_us = clock_now_us();
	g_autoptr(JsonObject) answer =
		movers_ask(journey, side, dialogue_message("clock"), "clock", CLOCK_MS, error);
	if (answer)
		ahead_take_clock(journey->ahead, side, answer, asked_us, clock_now_us() - begin_us);
	return answer != NULL;
}

static JsonObject *describe_probe(const struct care *care)
{
	JsonObject *message = dialogue_message("probe");
	json_object_set_int_member(message, "bytes", care->probe_bytes);
	json_object_set_int_member(message, "ms", care->probe_ms);
	return message;
}

static bool probe(struct journey *journey, GError **error)
{
	const struct care *care = care_of(journey);
	movers_tell(journey, JOURNEY_DESTINATION, describe_probe(care));
	g_autoptr(JsonObject) source = movers_ask(journey, JOURNEY_SOURCE, describe_probe(care),
						  "probed", PROBE_PATIENCE_MS, error);
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

/* A plan without numbers is none; a move without a forecast is a move. */
static bool do_without(struct journey *journey, GError *failure, GError **error)
{
	if (journey->request->kind == JOURNEY_PLAN || journey->cancelled ||
	    movers_failure(journey)) {
		error_classify(&failure, WATARI_ERROR_REFUSED, NULL);
		g_propagate_error(error, failure);
		return false;
	}
	g_autofree char *what = error_what(failure);
	journey_note(journey, false, _("There is no forecast of this move: %s"), what);
	g_clear_pointer(&journey->ahead, ahead_free);
	g_error_free(failure);
	return true;
}

static bool measure(struct journey *journey, GError **error)
{
	journey->ahead = g_new0(struct ahead, 1);
	for (int side = 0; side < JOURNEY_SIDES; side++)
		if (!ask_clock(journey, side, error))
			return false;
	for (int side = 0; side < JOURNEY_SIDES; side++)
		begin_looks(journey, side);
	dirtied_begin(journey);
	return true;
}

static bool take_plan(struct journey *journey, GError **error)
{
	JsonObject *forecast = json_get_object(journey->request->plan, "forecast");
	journey->ahead = g_new0(struct ahead, 1);
	return ahead_take_plan(journey->ahead, forecast) ||
	       error_set(error, WATARI_ERROR_REFUSED, _("Make a new plan with “watari plan”."),
			 _("the plan's forecast is not whole"));
}

static void call_begin_disks(void *data)
{
	disk_rate_begin(data);
}

bool phase_measure(struct journey *journey, GError **error)
{
	GError *failure = NULL;
	journey_call(journey, call_begin_disks, journey);
	if (journey->request->plan)
		return take_plan(journey, error);
	if (!movers_can(journey, "measure") || measure(journey, &failure))
		return true;
	return do_without(journey, failure, error);
}

static void call_read_vm(void *data)
{
	ahead_read_vm(data);
}

static void note_forecast(struct journey *journey)
{
	struct ahead *ahead = journey->ahead;
	const struct plan_outlook *outlook = &ahead->outlooks[ahead->chosen];
	g_autoptr(JsonObject) object = plan_history_describe(
		&ahead->facts, outlook, ahead->elapsed_ms, journey->request->plan != NULL);
	g_autofree char *text = json_print_object(object);
	journal_note_event(journey->journal, journey->report->id, "forecast", text);
}

static bool wait_measured(struct journey *journey, GError **error)
{
	for (int side = 0; side < JOURNEY_SIDES; side++) {
		g_autoptr(JsonObject) measured =
			movers_wait(journey, side, "measured", MEASURE_PATIENCE_MS, error);
		if (!measured)
			return false;
		ahead_take_measured(journey->ahead, side, measured);
		JsonObject *memory = json_get_object(measured, "memory");
		const char *reason = memory ? json_get_string(memory, "reason", NULL) : NULL;
		if (reason)
			journey_note(journey, false, _("The memory could not be sampled: %s"),
				     reason);
	}
	return true;
}

bool phase_forecast(struct journey *journey, GError **error)
{
	GError *failure = NULL;
	struct ahead *ahead = journey->ahead;
	int kind = journey->request->kind;
	if (!ahead)
		return true;
	if (!journey->request->plan) {
		/* not before: what is refused until here sends nothing over the link */
		bool good = probe(journey, &failure) && wait_measured(journey, &failure);
		dirtied_end(journey); /* always: no migration begins while QEMU counts */
		if (!good)
			return do_without(journey, failure, error);
		journey_call(journey, call_read_vm, journey);
		references_take(journey);
		ahead_look(journey);
	}
	ahead->elapsed_ms = (double) (clock_now_us() - journey->started_us) / 1e3;
	ahead->chosen = ahead_choose(journey->request);
	if (kind == JOURNEY_PLAN || kind == JOURNEY_REHEARSAL)
		ahead_find(journey);
	if (kind != JOURNEY_PLAN)
		note_forecast(journey);
	journey->forecast =
		g_memdup2(&ahead->outlooks[ahead->chosen].forecast, sizeof(struct forecast));
	journey->report->forecast = ahead_describe(ahead);
	return true;
}
