/* SPDX-License-Identifier: Apache-2.0 */
/* Carries the ladder's decisions out, and reports them. */
#include "conductor/live/ladder_decisions.h"
#include "conductor/core/part.h"

#include "conductor/postcopy/postcopy.h"

#include "base/i18n.h"
#include "base/json.h"
#include "base/unit.h"
#include "control/messages.h"

#include <math.h>

enum { KEPT = 200 }; /* of a long move, in the report; the journal has them all */

/* ---- told ---- */

static void set_ms(JsonObject *object, const char *name, double ms)
{
	json_object_set_int_member(object, name, llrint(fmin(ms, 1e9)));
}

static JsonObject *describe_ladder_decision(const struct ladder_decision *decision)
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

static void record(struct move *move, const struct ladder_decision *decision)
{
	struct move_report *report = move->report;
	JsonObject *object = describe_ladder_decision(decision);
	g_autofree char *text = json_print_object(object);
	journal_note_event(move->journal, report->id, "ladder", text);
	if (!report->decisions)
		report->decisions = json_array_new();
	if (json_array_get_length(report->decisions) < KEPT)
		json_array_add_object_element(report->decisions, object);
	else
		json_object_unref(object);
}

/* ---- done ---- */

static void take_effort(struct move *move, const struct ladder_decision *decision)
{
	g_autofree char *drain = unit_format_rate(decision->drain);
	g_autofree char *time = unit_format_duration_ms(llrint(fmin(decision->predicted_ms, 1e9)));
	g_autofree char *room = unit_format_duration_ms(llrint(decision->room_ms));
	move_note(move, false,
		  /* TRANSLATORS: a rate, two durations */
		  _("The passes get no smaller: at %s, which is all that the link and the "
		    "movers' effort give, the last one would take %s, and the ceiling leaves "
		    "%s."),
		  drain, time, room);
}

static void take_throttle(struct move *move, const struct ladder_decision *decision)
{
	move_note(move, false,
		  _("QEMU may slow the VM down by %d %% from now on; you permit %d %%."),
		  decision->slowdown, move->limits.max_slowdown);
}

static void take_postcopy(struct move *move, const struct ladder_decision *decision)
{
	move_note(move, false, "%s", _("Post-copy is the next step."));
}

/* What would have done it, as options; the first words of each are the same as in --help. */
static char *say_needed(const struct move *move, const struct ladder_decision *decision)
{
	GString *text = g_string_new(NULL);
	g_autofree char *time = unit_format_duration_ms(decision->needed_downtime_ms);
	g_autofree char *rate = unit_format_rate(decision->needed_rate);
	/* TRANSLATORS: a duration, a rate; what follows is added to it */
	g_string_append_printf(
		text, _("What would do: a stop of %s (--max-downtime); a link of %s"), time, rate);
	if (decision->needed_slowdown > move->limits.max_slowdown)
		g_string_append_printf(text, _("; a VM slowed down by %d %% (--max-slowdown)"),
				       decision->needed_slowdown);
	if (!move->limits.postcopy)
		g_string_append(text, _("; post-copy (--allow-postcopy)"));
	/* TRANSLATORS: the end of the sentence */
	g_string_append(text, _("; or a quieter hour."));
	return g_string_free(text, FALSE);
}

static void take_stop(struct move *move, const struct ladder_decision *decision)
{
	g_autofree char *drain = unit_format_rate(decision->drain);
	g_autofree char *dirty = unit_format_rate(fmax(decision->dirty_rate, decision->drain));
	g_autofree char *time = unit_format_duration_ms(llrint(fmin(decision->predicted_ms, 1e9)));
	g_autofree char *room = unit_format_duration_ms(llrint(decision->room_ms));
	if (move->mover_reason || move->stopped)
		return; /* it is ending, or the gate decides */
	move->mover_reason = g_strdup_printf(
		/* TRANSLATORS: two rates, two durations */
		_("the VM changes its memory faster than the link carries it: about %s against "
		  "%s; however long it went on, the last pass would take %s, and the ceiling "
		  "leaves %s"),
		dirty, drain, time, room);
	g_free(move->mover_next);
	move->mover_next = say_needed(move, decision);
}

/* The steps that are not only said. POSTCOPY: true when it is asked for. */
static const struct {
	void (*take)(struct move *move, const struct ladder_decision *decision);
	bool (*begin)(struct move *move, GError **error);
} actions[] = {
	[LADDER_WAIT] = { NULL, NULL },
	[LADDER_EFFORT] = { take_effort, NULL },
	[LADDER_THROTTLE] = { take_throttle, NULL },
	[LADDER_POSTCOPY] = { take_postcopy, postcopy_begin },
	[LADDER_STOP] = { take_stop, NULL },
};
_Static_assert(G_N_ELEMENTS(actions) == LADDER_STEP_LAST, "every step has a row");

/* What cannot be begun after all ends here, as if it had not been allowed. */
static void begin_decision(struct move *move, const struct ladder_decision *decision)
{
	g_autoptr(GError) error = NULL;
	if (move->stopped || !actions[decision->step].begin ||
	    actions[decision->step].begin(move, &error))
		return;
	g_autofree char *what = error_what(error);
	move_note(move, true, _("Post-copy could not be begun: %s"), what);
	take_stop(move, decision);
}

void ladder_decisions_take(struct move *move, const struct ladder_decision *decision)
{
	/* past the switch nothing is weighed any more, and nothing may be broken off */
	if (postcopy_asked(move))
		return;
	record(move, decision);
	if (actions[decision->step].take)
		actions[decision->step].take(move, decision);
	begin_decision(move, decision);
}

void ladder_decisions_rules(const struct move *move, struct ladder_rules *rules)
{
	*rules = (struct ladder_rules){
		.max_slowdown = move->limits.max_slowdown,
		.postcopy = move->limits.postcopy,
		.postcopy_first = move->request->strategy == MOVE_STRATEGY_POSTCOPY,
	};
}

void ladder_decisions_note_throttle(struct move *move, int percent)
{
	if (percent <= MAX(move->report->slowdown, THROTTLE_LEAST))
		return;
	move->report->slowdown = percent;
	g_autofree char *text = g_strdup_printf("%d", percent);
	journal_note_event(move->journal, move->report->id, "throttled", text);
	move_note(move, false, _("QEMU slows the VM down by %d %% now."), percent);
}

/* ---- a switchover that did not fit ---- */

static void note_broken_off(struct move *move, int64_t stopped_ms)
{
	const struct move_limits *limits = &move->limits;
	g_autoptr(JsonObject) object = json_object_new();
	json_object_set_int_member(object, "stopped_ms", stopped_ms);
	json_object_set_int_member(object, "ceiling_ms", limits->ceiling_ms);
	json_object_set_int_member(object, "hand_over_ms", limits->hand_over_ms);
	g_autofree char *text = json_print_object(object);
	journal_note_event(move->journal, move->report->id, "broken-off", text);
	move->report->broken_off++;
	move->report->broken_off_ms = stopped_ms;
	g_autofree char *ceiling = unit_format_duration_ms(limits->ceiling_ms);
	g_autofree char *reserve = unit_format_duration_ms(limits->hand_over_ms);
	g_autofree char *more = unit_format_duration_ms(MAX(2 * limits->ceiling_ms, 100));
	g_free(move->mover_reason);
	move->mover_reason = g_strdup_printf(
		/* TRANSLATORS: three durations */
		_("the switchover was broken off: it did not fit into the ceiling of %s, of which "
		  "libvirt's hand-over needs %s; the VM stood still for %lld ms and runs on at "
		  "the source"),
		ceiling, reserve, (long long) MAX(stopped_ms, 0));
	g_free(move->mover_next);
	move->mover_next = g_strdup_printf(_("Try again when VM and link are quieter, or allow "
					     "more, as in --max-downtime %s."),
					   more);
}

/* The source's mover broke the switchover off, for what reason it says: the VM resumes at the source. */
static void on_limit_refused(struct move *move, JsonObject *event)
{
	if (g_str_equal(json_get_string(event, "code", ""), "limit") && !move->report->broken_off)
		note_broken_off(move, json_get_int(event, "stopped_ms", -1));
}

static const struct part_event events[] = {
	{ EVENT_REFUSED, false, on_limit_refused },
	{ 0 },
};

const struct part ladder_part = { .name = "ladder", .events = events };
