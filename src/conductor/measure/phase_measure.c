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
#include "control/messages.h"

enum { CLOCK_MS = 5000 };

/* The first look is as far from the last round as a stop's is: how often pages are written again shows there only. */
static const struct budget care_plan = { 64 << 20, 1500, { 150, 1000, 4000 }, 4000 };
static const struct budget care_move = { 512 << 10, 250, { 250, 900 }, 800 };
/* Its stop is all of it, and is asked about beforehand. */
static const struct budget care_quick = { 32 << 20, 600, { 250, 900 }, 800 };

const struct budget *prediction_budget(const struct move *move)
{
	int kind = move->request->kind;
	if (kind == MOVE_QUICK)
		return &care_quick;
	return kind == MOVE_PLAN || kind == MOVE_REHEARSAL ? &care_plan : &care_move;
}

static void begin_looks(struct move *move, enum move_side side)
{
	JsonObject *message = dialogue_message(MESSAGE_MEASURE);
	JsonArray *windows = json_array_new();
	const struct budget *budget = prediction_budget(move);
	for (size_t i = 0; i < G_N_ELEMENTS(budget->windows_ms) && budget->windows_ms[i]; i++)
		json_array_add_int_element(windows, budget->windows_ms[i]);
	json_object_set_array_member(message, "windows_ms", windows);
	json_object_set_array_member(message, "images", references_list_images(move));
	if (side == MOVE_SOURCE) {
		json_object_set_array_member(message, "memories", prediction_list_memories(move));
		json_object_set_int_member(message, "scan_ms", budget->scan_ms);
	}
	movers_tell(move, side, message);
}

/* Of both hosts at once, over ways that may be long. */
struct asking_clocks {
	struct move *move;
	int64_t asked_us[MOVE_SIDES], begin_us[MOVE_SIDES];
	bool got[MOVE_SIDES];
};

static bool have_clocks(void *data)
{
	struct asking_clocks *asking = data;
	struct move *move = asking->move;
	for (int side = 0; side < MOVE_SIDES; side++) {
		g_autoptr(JsonObject) answer = dialogue_take(move->movers[side], MESSAGE_CLOCK);
		if (!answer)
			continue;
		asking->got[side] = true;
		prediction_take_clock(move->prediction, side, answer, asking->asked_us[side],
				      clock_now_us() - asking->begin_us[side]);
	}
	return (asking->got[0] && asking->got[1]) || movers_failure(move);
}

static bool ask_clocks(struct move *move, GError **error)
{
	struct asking_clocks asking = { .move = move };
	for (int side = 0; side < MOVE_SIDES; side++) {
		asking.asked_us[side] = g_get_real_time();
		asking.begin_us[side] = clock_now_us();
		movers_tell(move, side, dialogue_message(MESSAGE_CLOCK));
	}
	if (!move_wait(move, have_clocks, &asking, CLOCK_MS, error))
		return false;
	if (movers_failure(move) && error)
		*error = g_error_copy(movers_failure(move));
	return !movers_failure(move);
}

bool prediction_do_without(struct move *move, GError *failure, GError **error)
{
	if (move->request->kind == MOVE_PLAN || move->cancelled || movers_failure(move)) {
		error_classify(&failure, WATARI_ERROR_REFUSED, NULL);
		g_propagate_error(error, failure);
		return false;
	}
	g_autofree char *what = error_what(failure);
	move_note(move, false, _("There is no forecast of this move: %s"), what);
	g_clear_pointer(&move->prediction, prediction_free);
	g_error_free(failure);
	return true;
}

static bool measure(struct move *move, GError **error)
{
	move->prediction = g_new0(struct prediction, 1);
	if (!ask_clocks(move, error))
		return false;
	for (int side = 0; side < MOVE_SIDES; side++)
		begin_looks(move, side);
	dirty_rate_begin(move);
	return true;
}

static bool take_plan(struct move *move, GError **error)
{
	JsonObject *forecast = json_get_object(move->request->plan, "forecast");
	move->prediction = g_new0(struct prediction, 1);
	return prediction_take_plan(move->prediction, forecast) ||
	       error_set(error, WATARI_ERROR_REFUSED, _("Make a new plan with “watari plan”."),
			 _("the plan's forecast is not whole"));
}

static void call_begin_disks(void *data)
{
	disk_rate_begin(data);
}

bool phase_measure(struct move *move, GError **error)
{
	GError *failure = NULL;
	move_call(move, call_begin_disks, move);
	if (move->request->plan)
		return take_plan(move, error);
	if (!movers_can(move, "measure") || measure(move, &failure))
		return true;
	return prediction_do_without(move, failure, error);
}
