/* SPDX-License-Identifier: Apache-2.0 */
#include "journey/ahead/rehearsal.h"

#include "journey/ahead/ahead.h"
#include "journey/movers.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/json.h"

void rehearsal_begin(struct journey *journey)
{
	if (journey->request->kind != JOURNEY_REHEARSAL)
		return;
	journey->rehearsal = g_new0(struct rehearsal, 1);
	journey->rehearsal->begin_us = clock_now_us();
}

void rehearsal_note_connected(struct journey *journey)
{
	if (journey->rehearsal)
		journey->rehearsal->connected_us = clock_now_us();
}

void rehearsal_note_held(struct journey *journey, JsonObject *event)
{
	struct rehearsal *rehearsal = journey->rehearsal;
	if (!rehearsal)
		return;
	rehearsal->held = true;
	rehearsal->normal = json_get_double(event, "normal", 0);
	rehearsal->zero = json_get_double(event, "zero", 0);
	rehearsal->left = json_get_double(event, "left", 0);
	rehearsal->ms = json_get_double(event, "ms", 0);
	rehearsal->wire_bytes = json_get_double(event, "wire", 0);
}

/* The time is over: what has been copied by now has to do. */
static void hold_now(struct journey *journey)
{
	int64_t most_ms = journey->request->max_time_ms;
	int64_t now_us = clock_now_us();
	if (!most_ms || journey->rehearsal->asked || !journey->rehearsal->connected_us ||
	    now_us - journey->rehearsal->begin_us < most_ms * 1000)
		return;
	journey->rehearsal->asked = true;
	movers_tell(journey, JOURNEY_SOURCE, dialogue_message("dwell"));
}

const char *rehearsal_reason(struct journey *journey)
{
	if (!journey->rehearsal)
		return NULL;
	hold_now(journey);
	return journey->rehearsal->held ? _("the rehearsal is over") : NULL;
}

bool rehearsal_judge(struct journey *journey, GError **error)
{
	if (!journey->rehearsal->held || journey->cancelled)
		return false;
	if (journey->stopped)
		return error_set(error, WATARI_ERROR_FAILED, NULL,
				 _("the VM was stopped for a moment in its rehearsal"));
	return true;
}

JsonObject *rehearsal_describe(const struct rehearsal *rehearsal)
{
	if (!rehearsal || !rehearsal->held)
		return NULL;
	JsonObject *object = json_object_new();
	json_object_set_double_member(
		object, "setup_ms", (double) (rehearsal->connected_us - rehearsal->begin_us) / 1e3);
	json_object_set_double_member(object, "copy_ms", rehearsal->ms);
	json_object_set_double_member(object, "pages", rehearsal->normal);
	json_object_set_double_member(object, "zero_pages", rehearsal->zero);
	json_object_set_double_member(object, "left_pages", rehearsal->left);
	json_object_set_double_member(object, "wire_bytes", rehearsal->wire_bytes);
	return object;
}

/* ---- what it teaches ---- */

bool phase_rehearsed(struct journey *journey, GError **error)
{
	const struct rehearsal *rehearsal = journey->rehearsal;
	if (!journey->ahead || rehearsal->normal < 1)
		return true;
	struct plan_facts *facts = &journey->ahead->facts;
	facts->setup_ms = (double) (rehearsal->connected_us - rehearsal->begin_us) / 1e3;
	facts->page_s = rehearsal->ms / 1e3 / rehearsal->normal;
	facts->page_bytes = rehearsal->wire_bytes / rehearsal->normal;
	facts->data_pages = rehearsal->normal + rehearsal->left;
	ahead_look(journey);
	g_autoptr(JsonObject) object = plan_facts_describe(facts);
	g_autofree char *text = json_print_object(object);
	journal_add_event(journey->journal, journey->report->id, "rehearsal", text, NULL);
	journey->report->rehearsal = rehearsal_describe(rehearsal);
	g_clear_pointer(&journey->report->forecast, json_object_unref);
	journey->report->forecast = ahead_describe(journey->ahead);
	return true;
}
