/* SPDX-License-Identifier: Apache-2.0 */
#include "conductor/convergence/ladder_decisions.h"

#include "conductor/postcopy/postcopy.h"

#include "base/i18n.h"
#include "base/json.h"
#include "base/unit.h"

#include <math.h>

enum { KEPT = 200 }; /* of a long move, in the report; the journal has them all */

/* ---- told ---- */

static void set_ms(JsonObject *object, const char *name, double ms)
{
	json_object_set_int_member(object, name, llrint(fmin(ms, 1e9)));
}

static JsonObject *describe(const struct ladder_decision *decision)
{
	JsonObject *object = json_object_new();
	json_object_set_string_member(object, "step", ladder_step_name(decision->step));
	json_object_set_int_member(object, "iteration", decision->iteration);
	json_object_set_int_member(object, "bytes", llrint(decision->size));
	json_object_set_int_member(object, "bytes_before", llrint(decision->before));
	json_object_set_int_member(object, "plateau", llrint(decision->plateau));
	json_object_set_int_member(object, "dirty_rate", llrint(decision->dirty_rate));
	json_object_set_int_member(object, "drain", llrint(decision->drain));
	set_ms(object, "predicted_ms", decision->predicted_ms);
	set_ms(object, "room_ms", decision->room_ms);
	json_object_set_int_member(object, "slowdown", decision->slowdown);
	if (decision->step != LADDER_STOP)
		return object;
	json_object_set_int_member(object, "needed_downtime_ms", decision->needed_downtime_ms);
	json_object_set_int_member(object, "needed_rate", llrint(decision->needed_rate));
	json_object_set_int_member(object, "needed_slowdown", decision->needed_slowdown);
	return object;
}

static void record(struct journey *journey, const struct ladder_decision *decision)
{
	struct journey_report *report = journey->report;
	JsonObject *object = describe(decision);
	g_autofree char *text = json_print_object(object);
	journal_note_event(journey->journal, report->id, "ladder", text);
	if (!report->decisions)
		report->decisions = json_array_new();
	if (json_array_get_length(report->decisions) < KEPT)
		json_array_add_object_element(report->decisions, object);
	else
		json_object_unref(object);
}

/* ---- done ---- */

static void take_effort(struct journey *journey, const struct ladder_decision *decision)
{
	g_autofree char *drain = unit_format_rate(decision->drain);
	g_autofree char *time = unit_format_duration_ms(llrint(fmin(decision->predicted_ms, 1e9)));
	g_autofree char *room = unit_format_duration_ms(llrint(decision->room_ms));
	journey_note(journey, false,
		     /* TRANSLATORS: a rate, two durations */
		     _("The passes get no smaller: at %s, which is all that the link and the "
		       "movers' effort give, the last one would take %s, and the ceiling leaves "
		       "%s."),
		     drain, time, room);
}

static void take_throttle(struct journey *journey, const struct ladder_decision *decision)
{
	journey_note(journey, false,
		     _("QEMU may slow the VM down by %d %% from now on; you permit %d %%."),
		     decision->slowdown, journey->limits.max_slowdown);
}

static void take_postcopy(struct journey *journey, const struct ladder_decision *decision)
{
	journey_note(journey, false, "%s", _("Post-copy is the next step."));
}

/* What would have done it, as options; the first words of each are the same as in --help. */
static char *say_needed(const struct journey *journey, const struct ladder_decision *decision)
{
	GString *text = g_string_new(NULL);
	g_autofree char *time = unit_format_duration_ms(decision->needed_downtime_ms);
	g_autofree char *rate = unit_format_rate(decision->needed_rate);
	/* TRANSLATORS: a duration, a rate; what follows is added to it */
	g_string_append_printf(
		text, _("What would do: a stop of %s (--max-downtime); a link of %s"), time, rate);
	if (decision->needed_slowdown > journey->limits.max_slowdown)
		g_string_append_printf(text, _("; a VM slowed down by %d %% (--max-slowdown)"),
				       decision->needed_slowdown);
	if (!journey->limits.postcopy)
		g_string_append(text, _("; post-copy (--allow-postcopy)"));
	/* TRANSLATORS: the end of the sentence */
	g_string_append(text, _("; or a quieter hour."));
	return g_string_free(text, FALSE);
}

static void take_stop(struct journey *journey, const struct ladder_decision *decision)
{
	g_autofree char *drain = unit_format_rate(decision->drain);
	g_autofree char *dirty = unit_format_rate(fmax(decision->dirty_rate, decision->drain));
	g_autofree char *time = unit_format_duration_ms(llrint(fmin(decision->predicted_ms, 1e9)));
	g_autofree char *room = unit_format_duration_ms(llrint(decision->room_ms));
	if (journey->mover_reason || journey->stopped)
		return; /* it is ending, or the gate decides */
	journey->mover_reason = g_strdup_printf(
		/* TRANSLATORS: two rates, two durations */
		_("the VM changes its memory faster than the link carries it: about %s against "
		  "%s; however long it went on, the last pass would take %s, and the ceiling "
		  "leaves %s"),
		dirty, drain, time, room);
	g_free(journey->mover_next);
	journey->mover_next = say_needed(journey, decision);
}

/* The steps that are not only said. POSTCOPY: true when it is asked for. */
static const struct {
	void (*take)(struct journey *journey, const struct ladder_decision *decision);
	bool (*begin)(struct journey *journey, GError **error);
} actions[] = {
	[LADDER_WAIT] = { NULL, NULL },
	[LADDER_EFFORT] = { take_effort, NULL },
	[LADDER_THROTTLE] = { take_throttle, NULL },
	[LADDER_POSTCOPY] = { take_postcopy, postcopy_begin },
	[LADDER_STOP] = { take_stop, NULL },
};
_Static_assert(G_N_ELEMENTS(actions) == LADDER_STEP_LAST, "every step has a row");

/* What cannot be begun after all ends here, as if it had not been allowed. */
static void begin(struct journey *journey, const struct ladder_decision *decision)
{
	g_autoptr(GError) error = NULL;
	if (journey->stopped || !actions[decision->step].begin ||
	    actions[decision->step].begin(journey, &error))
		return;
	g_autofree char *what = error_what(error);
	journey_note(journey, true, _("Post-copy could not be begun: %s"), what);
	take_stop(journey, decision);
}

void rungs_take(struct journey *journey, const struct ladder_decision *decision)
{
	/* past the switch nothing is weighed any more, and nothing may be broken off */
	if (postcopy_asked(journey))
		return;
	record(journey, decision);
	if (actions[decision->step].take)
		actions[decision->step].take(journey, decision);
	begin(journey, decision);
}

void rungs_rules(const struct journey *journey, struct ladder_rules *rules)
{
	*rules = (struct ladder_rules){
		.max_slowdown = journey->limits.max_slowdown,
		.postcopy = journey->limits.postcopy,
		.postcopy_first = journey->request->strategy == JOURNEY_STRATEGY_POSTCOPY,
	};
}

void rungs_note_throttle(struct journey *journey, int percent)
{
	if (percent <= MAX(journey->report->slowdown, THROTTLE_LEAST))
		return;
	journey->report->slowdown = percent;
	g_autofree char *text = g_strdup_printf("%d", percent);
	journal_note_event(journey->journal, journey->report->id, "throttled", text);
	journey_note(journey, false, _("QEMU slows the VM down by %d %% now."), percent);
}

/* ---- a switchover that did not fit ---- */

void rungs_note_broken_off(struct journey *journey, int64_t stopped_ms)
{
	const struct journey_limits *limits = &journey->limits;
	g_autoptr(JsonObject) object = json_object_new();
	json_object_set_int_member(object, "stopped_ms", stopped_ms);
	json_object_set_int_member(object, "ceiling_ms", limits->ceiling_ms);
	json_object_set_int_member(object, "hand_over_ms", limits->hand_over_ms);
	g_autofree char *text = json_print_object(object);
	journal_note_event(journey->journal, journey->report->id, "broken-off", text);
	journey->report->broken_off++;
	journey->report->broken_off_ms = stopped_ms;
	g_autofree char *ceiling = unit_format_duration_ms(limits->ceiling_ms);
	g_autofree char *reserve = unit_format_duration_ms(limits->hand_over_ms);
	g_autofree char *more = unit_format_duration_ms(MAX(2 * limits->ceiling_ms, 100));
	g_free(journey->mover_reason);
	journey->mover_reason = g_strdup_printf(
		/* TRANSLATORS: three durations */
		_("the switchover was broken off: it did not fit into the ceiling of %s, of which "
		  "libvirt's hand-over needs %s; the VM stood still for %lld ms and runs on at "
		  "the source"),
		ceiling, reserve, (long long) MAX(stopped_ms, 0));
	g_free(journey->mover_next);
	journey->mover_next = g_strdup_printf(_("Try again when VM and link are quieter, or allow "
						"more, as in --max-downtime %s."),
					      more);
}
