/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the settings of the source's QEMU, and restores them. */
#include "conductor/live/qemu_settings.h"

#include "conductor/core/stage.h"

#include "base/json.h"

#include <string.h>

static bool write_before_down(struct move *move, GError **error)
{
	g_autoptr(JsonObject) numbers = json_object_new();
	json_object_set_int_member(numbers, "downtime_ms", (gint64) move->old_downtime_ms);
	json_object_set_int_member(numbers, "throttle_initial", move->throttle.initial);
	json_object_set_int_member(numbers, "throttle_most", move->throttle.most);
	g_autofree char *text = json_print_object(numbers);
	return stage_enter(move, STAGE_BEFORE, text, error);
}

bool qemu_settings_read(struct move *move, GError **error)
{
	if (virDomainMigrateGetMaxDowntime(move->domain, &move->old_downtime_ms, 0) < 0)
		move->old_downtime_ms = 0;
	if (move->limits.max_slowdown > 0 && !throttle_read(move->domain, &move->throttle, error))
		return throttle_refuse(error);
	return write_before_down(move, error);
}

void qemu_settings_recall(struct move *move, const char *id)
{
	g_autofree char *text = journal_find_event(move->journal, id, stage_name(STAGE_BEFORE));
	g_autoptr(JsonObject) numbers = text ? json_parse_object(text, strlen(text), NULL) : NULL;
	if (!numbers || journal_has_event(move->journal, id, stage_name(STAGE_BEFORE_RESTORED)))
		return;
	move->old_downtime_ms = (unsigned long long) json_get_int(numbers, "downtime_ms", 0);
	move->throttle.initial = (int) json_get_int(numbers, "throttle_initial", 0);
	move->throttle.most = (int) json_get_int(numbers, "throttle_most", 0);
	move->throttle.changed = move->throttle.initial > 0 && move->throttle.most > 0;
}

bool qemu_settings_is_known(const struct move *move)
{
	return move->old_downtime_ms || move->throttle.changed;
}

void qemu_settings_restore(struct move *move, virDomainPtr domain)
{
	if (move->old_downtime_ms)
		virDomainMigrateSetMaxDowntime(domain, move->old_downtime_ms, 0);
	throttle_restore(domain, &move->throttle);
}

void qemu_settings_note_restored(struct move *move)
{
	stage_note_done(move, STAGE_BEFORE_RESTORED);
}
