/* SPDX-License-Identifier: Apache-2.0 */
#include "conductor/live/qemu_settings.h"

#include "conductor/core/stage.h"

#include "base/json.h"

#include <string.h>

static bool write_before_down(struct journey *journey, GError **error)
{
	g_autoptr(JsonObject) numbers = json_object_new();
	json_object_set_int_member(numbers, "downtime_ms", (gint64) journey->old_downtime_ms);
	json_object_set_int_member(numbers, "throttle_initial", journey->throttle.initial);
	json_object_set_int_member(numbers, "throttle_most", journey->throttle.most);
	g_autofree char *text = json_print_object(numbers);
	return stage_enter(journey, STAGE_BEFORE, text, error);
}

bool before_read(struct journey *journey, GError **error)
{
	if (virDomainMigrateGetMaxDowntime(journey->domain, &journey->old_downtime_ms, 0) < 0)
		journey->old_downtime_ms = 0;
	if (journey->limits.max_slowdown > 0 &&
	    !throttle_read(journey->domain, &journey->throttle, error))
		return throttle_refuse(error);
	return write_before_down(journey, error);
}

void before_recall(struct journey *journey, const char *id)
{
	g_autofree char *text = journal_find_event(journey->journal, id, stage_name(STAGE_BEFORE));
	g_autoptr(JsonObject) numbers = text ? json_parse_object(text, strlen(text), NULL) : NULL;
	if (!numbers || journal_has_event(journey->journal, id, stage_name(STAGE_BEFORE_RESTORED)))
		return;
	journey->old_downtime_ms = (unsigned long long) json_get_int(numbers, "downtime_ms", 0);
	journey->throttle.initial = (int) json_get_int(numbers, "throttle_initial", 0);
	journey->throttle.most = (int) json_get_int(numbers, "throttle_most", 0);
	journey->throttle.changed = journey->throttle.initial > 0 && journey->throttle.most > 0;
}

bool before_is_known(const struct journey *journey)
{
	return journey->old_downtime_ms || journey->throttle.changed;
}

void before_restore(struct journey *journey, virDomainPtr domain)
{
	if (journey->old_downtime_ms)
		virDomainMigrateSetMaxDowntime(domain, journey->old_downtime_ms, 0);
	throttle_restore(domain, &journey->throttle);
}

void before_note_restored(struct journey *journey)
{
	stage_note_done(journey, STAGE_BEFORE_RESTORED);
}
