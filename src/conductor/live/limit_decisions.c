/* SPDX-License-Identifier: Apache-2.0 */
/* Reports the decisions on QEMU's downtime limit. */
#include "conductor/live/limit_decisions.h"

#include "base/i18n.h"
#include "base/json.h"
#include "base/unit.h"

#include <math.h>

enum { KEPT = 200 }; /* of a long move, in the report; the journal has them all */

static JsonObject *describe_limit_change(const struct limit_change *change)
{
	JsonObject *object = json_object_new();
	json_object_set_int_member(object, "limit_ms", change->limit_ms);
	json_object_set_string_member(object, "reason", limit_reason_name(change->reason));
	json_object_set_int_member(object, "iteration", change->iteration);
	json_object_set_int_member(object, "flat_rounds", change->flat_rounds);
	json_object_set_int_member(object, "bytes", (gint64) change->bytes);
	json_object_set_int_member(object, "drain", llrint(change->drain));
	json_object_set_int_member(object, "qemu_rate", llrint(change->qemu_rate));
	json_object_set_int_member(object, "predicted_ms", llrint(fmin(change->predicted_ms, 1e9)));
	json_object_set_int_member(object, "target_ms", llrint(change->target_ms));
	return object;
}

static void tell_person(struct move *move, const struct limit_change *change)
{
	g_autofree char *bytes = unit_format_bytes(change->bytes);
	g_autofree char *drain = unit_format_rate(change->drain);
	move_note(move, false,
		  /* TRANSLATORS: a size, a rate, a number of milliseconds */
		  _("The passes get no smaller: QEMU may stop the VM once %s remain, which at %s "
		    "takes about %d ms."),
		  bytes, drain, (int) fmin(change->predicted_ms, 1e9));
}

void limit_decisions_note(struct move *move, const struct limit_change *change)
{
	struct move_report *report = move->report;
	JsonObject *object = describe_limit_change(change);
	g_autofree char *text = json_print_object(object);
	journal_note_event(move->journal, report->id, "limit", text);
	report->limit_ms = change->limit_ms;
	if (!report->limits)
		report->limits = json_array_new();
	if (json_array_get_length(report->limits) < KEPT)
		json_array_add_object_element(report->limits, object);
	else
		json_object_unref(object);
	if (change->reason == LIMIT_FLAT || change->reason == LIMIT_MISSED)
		tell_person(move, change);
}
