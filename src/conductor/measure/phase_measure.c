/* SPDX-License-Identifier: Apache-2.0 */
/* What is measured before anything moves: by the movers hosts and the guest's memory; through libvirt what it
 * writes to its disks, and, if a second may be spent on it, to its memory. The looks go on while the next
 * phases run; the forecast is made of them in phase_forecast.c. What cannot be measured is said, and is no
 * reason not to move. */
#include "conductor/measure/prediction.h"
#include "conductor/measure/budget.h"
#include "conductor/measure/dirty_rate.h"
#include "conductor/measure/references.h"
#include "conductor/disks/disk_rate.h"
#include "conductor/core/movers.h"
#include "conductor/core/move.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/json.h"

enum { CLOCK_MS = 5000 };

/* The first look is as far from the last round as a stop's is: how often pages are written again shows there only. */
static const struct care care_plan = { 64 << 20, 1500, { 150, 1000, 4000 }, 4000 };
static const struct care care_move = { 512 << 10, 250, { 250, 900 }, 800 };
/* Its stop is all of it, and is asked about beforehand. */
static const struct care care_quick = { 32 << 20, 600, { 250, 900 }, 800 };

const struct care *ahead_care(const struct journey *journey)
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
	const struct care *care = ahead_care(journey);
	for (size_t i = 0; i < G_N_ELEMENTS(care->windows_ms) && care->windows_ms[i]; i++)
		json_array_add_int_element(windows, care->windows_ms[i]);
	json_object_set_array_member(message, "windows_ms", windows);
	json_object_set_array_member(message, "images", references_list_images(journey));
	if (side == JOURNEY_SOURCE) {
		json_object_set_array_member(message, "memories", ahead_list_memories(journey));
		json_object_set_int_member(message, "scan_ms", care->scan_ms);
	}
	movers_tell(journey, side, message);
}

/* Of both hosts at once, over ways that may be long. */
struct asking_clocks {
	struct journey *journey;
	int64_t asked_us[JOURNEY_SIDES], begin_us[JOURNEY_SIDES];
	bool got[JOURNEY_SIDES];
};

static bool have_clocks(void *data)
{
	struct asking_clocks *asking = data;
	struct journey *journey = asking->journey;
	for (int side = 0; side < JOURNEY_SIDES; side++) {
		g_autoptr(JsonObject) answer = dialogue_take(journey->movers[side], "clock");
		if (!answer)
			continue;
		asking->got[side] = true;
		ahead_take_clock(journey->ahead, side, answer, asking->asked_us[side],
				 clock_now_us() - asking->begin_us[side]);
	}
	return (asking->got[0] && asking->got[1]) || movers_failure(journey);
}

static bool ask_clocks(struct journey *journey, GError **error)
{
	struct asking_clocks asking = { .journey = journey };
	for (int side = 0; side < JOURNEY_SIDES; side++) {
		asking.asked_us[side] = g_get_real_time();
		asking.begin_us[side] = clock_now_us();
		movers_tell(journey, side, dialogue_message("clock"));
	}
	if (!journey_wait(journey, have_clocks, &asking, CLOCK_MS, error))
		return false;
	if (movers_failure(journey) && error)
		*error = g_error_copy(movers_failure(journey));
	return !movers_failure(journey);
}

bool ahead_do_without(struct journey *journey, GError *failure, GError **error)
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
	if (!ask_clocks(journey, error))
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
	return ahead_do_without(journey, failure, error);
}
