/* SPDX-License-Identifier: Apache-2.0 */
/* `watari score`: how good the forecasts were so far. */
#include "cli/columns.h"
#include "cli/command.h"
#include "forecast/score.h"
#include "journal/journal.h"

#include "base/i18n.h"
#include "base/json.h"
#include "base/unit.h"
#include "base/version.h"

#include <math.h>

enum { CASES_MAX = 1000 };

struct values {
	int last;
	bool json, verbose;
};

#define AT(member) offsetof(struct values, member)

static const struct option_row rows[] = {
	{ "last", 0, OPTION_NUMBER, AT(last), N_("NUMBER"), .least = 1, .most = CASES_MAX,
	  .help = N_("Only so many of the newest moves. The default is all.") },
	{ "verbose", 'v', OPTION_FLAG, AT(verbose), .help = N_("List each move, too.") },
	{ "json", 0, OPTION_FLAG, AT(json), .help = N_("Print one JSON document.") },
	{ 0 },
};

struct scored {
	struct score_case *cases;
	GPtrArray *events; /* struct journal_event, of which case i is the one at index[i] */
	unsigned *index;
	unsigned count;
};

static const char *const words[] = {
	[SCORE_TOTAL] = N_("total time"),
	[SCORE_STOP] = N_("longest stop"),
	[SCORE_BYTES] = N_("on the wire"),
};
_Static_assert(G_N_ELEMENTS(words) == SCORE_LAST, "every quantity has its words");

/* ---- the journal ---- */

static bool is_move_meant(const struct journal_move *move, const char *vm)
{
	return !vm || g_strcmp0(move->vm_name, vm) == 0 || g_strcmp0(move->vm_uuid, vm) == 0;
}

static bool collect_moves(struct scored *scored, const char *vm, unsigned most, GError **error)
{
	g_autoptr(GError) failure = NULL;
	struct journal *journal = journal_open_existing(NULL, &failure);
	if (journal)
		scored->events = journal_list_events(journal, "forecast", CASES_MAX, &failure);
	journal_close(journal);
	if (failure) {
		g_propagate_error(error, g_steal_pointer(&failure));
		return false;
	}
	if (!scored->events)
		return true; /* no move was ever made here */
	scored->cases = g_new0(struct score_case, CASES_MAX);
	scored->index = g_new0(unsigned, CASES_MAX);
	for (guint i = 0; i < scored->events->len && scored->count < most; i++) {
		const struct journal_event *event = scored->events->pdata[i];
		struct score_case *one = &scored->cases[scored->count];
		if (!is_move_meant(event->move, vm) ||
		    !plan_history_read(event->text, event->move->numbers, &one->outcome,
				       &one->said))
			continue;
		scored->index[scored->count++] = i;
	}
	return true;
}

static void scored_clear(struct scored *scored)
{
	g_clear_pointer(&scored->events, g_ptr_array_unref);
	g_free(scored->cases);
	g_free(scored->index);
}

/* ---- for people ---- */

static char *format(enum score_quantity quantity, double value)
{
	if (value < 0)
		return g_strdup("–");
	return quantity == SCORE_BYTES ? unit_format_bytes((uint64_t) value)
				       : unit_format_duration_ms((int64_t) llround(value));
}

static void print_case(const struct scored *scored, unsigned i)
{
	const struct journal_event *event = scored->events->pdata[scored->index[i]];
	const struct score_case *one = &scored->cases[i];
	g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(event->move->started_s);
	g_autofree char *when = g_date_time_format(time, "%F %T");
	printf("%s  %s  %s\n", when, event->move->vm_name, plan_strategy_name(one->said.strategy));
	for (int q = 0; q < SCORE_LAST; q++) {
		struct forecast_range said = score_said(one, q);
		g_autofree char *middle = format(q, said.p50), *most = format(q, said.p90);
		g_autofree char *outcome = format(q, score_outcome(one, q));
		g_autofree char *text = g_strdup_printf(_("%s (at most %s) predicted, it was %s"),
							middle, most, outcome);
		columns_print(stdout, _(words[q]), text);
	}
}

static void print_score(const struct scored *scored)
{
	printf(_("Moves that were predicted: %u"), scored->count);
	putchar('\n');
	for (int q = 0; q < SCORE_LAST && scored->count; q++) {
		struct score score = score_all(scored->cases, scored->count, q);
		g_autofree char *text = g_strdup_printf(
			_("off by %.0f %% (median); %.0f %% were not above the upper bound; %.0f "
			  "%% "
			  "within a factor of 1.5"),
			score.median_error * 100, score.within_p90 * 100, score.within_half * 100);
		columns_print(stdout, _(words[q]), text);
	}
}

/* ---- for programs ---- */

static JsonObject *describe_case(const struct scored *scored, unsigned i)
{
	const struct journal_event *event = scored->events->pdata[scored->index[i]];
	const struct score_case *one = &scored->cases[i];
	JsonObject *object = json_object_new();
	json_set_text(object, "id", event->move->id);
	json_set_text(object, "vm", event->move->vm_name);
	json_object_set_int_member(object, "started", event->move->started_s);
	json_set_text(object, "strategy", plan_strategy_name(one->said.strategy));
	for (int q = 0; q < SCORE_LAST; q++) {
		JsonObject *numbers = json_object_new();
		struct forecast_range said = score_said(one, q);
		json_object_set_double_member(numbers, "p50", said.p50);
		json_object_set_double_member(numbers, "p90", said.p90);
		json_object_set_double_member(numbers, "outcome", score_outcome(one, q));
		json_object_set_object_member(object, score_quantity_name(q), numbers);
	}
	return object;
}

/* Of no moves at all nothing is known, least of all that nothing was off. */
static void set_share(JsonObject *object, const char *name, const struct score *score, double value)
{
	if (score->count)
		json_object_set_double_member(object, name, value);
	else
		json_object_set_null_member(object, name);
}

/* ERROR NULL: the journal was read. */
static void print_score_json(const struct scored *scored, const GError *error)
{
	g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
	JsonObject *document = json_object_new();
	JsonArray *moves = json_array_new();
	json_object_set_int_member(document, "format", 1);
	json_set_text(document, "watari", watari_version);
	for (int q = 0; q < SCORE_LAST; q++) {
		struct score score = score_all(scored->cases, scored->count, q);
		JsonObject *numbers = json_object_new();
		json_object_set_int_member(numbers, "count", score.count);
		set_share(numbers, "median_error", &score, score.median_error);
		set_share(numbers, "within_p90", &score, score.within_p90);
		set_share(numbers, "within_half", &score, score.within_half);
		json_object_set_object_member(document, score_quantity_name(q), numbers);
	}
	for (unsigned i = 0; i < scored->count; i++)
		json_array_add_object_element(moves, describe_case(scored, i));
	json_object_set_array_member(document, "moves", moves);
	if (error)
		json_object_set_object_member(document, "error", json_describe_error(error));
	else
		json_object_set_null_member(document, "error");
	json_node_take_object(node, document);
	g_autofree char *text = json_to_string(node, TRUE);
	puts(text);
}

static int run(const struct command *command, void *data, char **arguments)
{
	struct values *values = data;
	struct scored scored = { 0 };
	g_autoptr(GError) error = NULL;
	unsigned most = values->last ? (unsigned) values->last : CASES_MAX;
	bool good = collect_moves(&scored, *arguments, most, &error);
	if (!good)
		error_classify(&error, WATARI_ERROR_REFUSED, NULL);
	if (values->json)
		print_score_json(&scored, error);
	else if (good) {
		for (unsigned i = 0; values->verbose && i < scored.count; i++)
			print_case(&scored, i);
		print_score(&scored);
	}
	scored_clear(&scored);
	return good ? WATARI_EXIT_OK : command_complain(error);
}

const struct command score_command = {
	.name = "score",
	.summary = N_("Say how good the forecasts were."),
	.arguments = "[VM]",
	.arguments_most = 1,
	.offers = { OFFER_VM },
	.rows = rows,
	.values_size = sizeof(struct values),
	.run = run,
};
