/* SPDX-License-Identifier: Apache-2.0 */
/* How moves are shown and followed, for status, watch, cancel and tune. */
#include "cli/moves.h"

#include "cli/command.h"

#include "base/i18n.h"
#include "base/json.h"
#include "base/unit.h"
#include "cli/progress.h"

#include <stdio.h>
#include <string.h>

static uint64_t count(JsonObject *live, const char *name)
{
	return (uint64_t) MAX(json_get_int(live, name, 0), 0);
}

void moves_read_progress(JsonObject *live, struct move_progress *progress)
{
	*progress = (struct move_progress){
		.phase = json_get_string(live, "phase", NULL),
		.doing = json_get_string(live, "doing", NULL),
		.bytes = count(live, "bytes"),
		.wire_bytes = count(live, "wire_bytes"),
		.rate = (double) json_get_int(live, "rate", 0),
		.remaining = count(live, "remaining"),
		.total = count(live, "total"),
		.disk_done = count(live, "disk_done"),
		.disk_total = count(live, "disk_total"),
		.iteration = (int) json_get_int(live, "iteration", 0),
		.dirty_rate = (double) json_get_int(live, "dirty_rate", 0),
		.left_ms = json_get_int(live, "left_ms", -1),
		.elapsed_ms = json_get_int(live, "elapsed_ms", 0),
	};
}

static const char *outcome_words(const char *outcome)
{
	static const struct {
		const char *outcome, *words;
	} table[] = {
		{ "migrated", N_("arrived") },
		{ "refused", N_("was refused") },
		{ "failed", N_("failed; it stayed at the source") },
		{ "cancelled", N_("was cancelled; it runs at the source") },
		{ "attention", N_("needs attention: “watari resolve”") },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
		if (g_strcmp0(outcome, table[i].outcome) == 0)
			return _(table[i].words);
	return outcome;
}

static char *say_state(const struct client_move *move)
{
	struct move_progress progress;
	switch (move->state) {
	case CLIENT_RUNNING:
		moves_read_progress(move->live, &progress);
		return progress_format(&progress);
	case CLIENT_SILENT:
		return g_strdup_printf(_("is driven by process %d, which does not answer"),
				       (int) move->move->pid);
	case CLIENT_BROKEN:
		return g_strdup(_("was broken off, its program is gone: “watari resolve”"));
	default:
		return g_strdup(outcome_words(move->move->outcome));
	}
}

static const char *host_words(const char *address)
{
	return address && *address ? address : _("this machine");
}

char *moves_format(const struct client_move *move)
{
	g_autoptr(GDateTime) started = g_date_time_new_from_unix_local(move->move->started_s);
	g_autofree char *time = g_date_time_format(started, "%F %T");
	g_autofree char *state = say_state(move);
	/* TRANSLATORS: time, VM, source, destination, how the move is or ended */
	return g_strdup_printf(_("%s  %s, %s to %s: %s"), time, move->move->vm_name,
			       host_words(move->move->source), host_words(move->move->destination),
			       state);
}

/* The closing report that the journal keeps. */
static JsonNode *read_report(const char *text)
{
	g_autoptr(JsonParser) parser = json_parser_new();
	if (!text || !json_parser_load_from_data(parser, text, -1, NULL))
		return json_node_new(JSON_NODE_NULL);
	return json_parser_steal_root(parser);
}

JsonObject *moves_describe(const struct client_move *move)
{
	JsonObject *object = json_object_new(), *vm = json_object_new();
	const struct journal_move *row = move->move;
	json_object_set_string_member(object, "id", row->id);
	json_set_text(vm, "name", row->vm_name);
	json_set_text(vm, "uuid", row->vm_uuid);
	json_object_set_object_member(object, "vm", vm);
	json_set_text(object, "source", row->source);
	json_set_text(object, "destination", row->destination);
	json_object_set_string_member(object, "state", client_state_name(move->state));
	json_set_text(object, "phase", row->phase);
	json_set_text(object, "outcome", row->outcome);
	json_object_set_int_member(object, "pid", row->pid);
	json_object_set_int_member(object, "started_s", row->started_s);
	if (row->ended_s > 0)
		json_object_set_int_member(object, "ended_s", row->ended_s);
	else
		json_object_set_null_member(object, "ended_s");
	if (move->live)
		json_object_set_object_member(object, "live", json_object_ref(move->live));
	else
		json_object_set_null_member(object, "live");
	json_object_set_member(object, "report", read_report(row->numbers));
	return object;
}

void moves_print_json(JsonObject *object)
{
	g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
	json_node_set_object(node, object);
	g_autofree char *text = json_to_string(node, TRUE);
	puts(text);
}

int moves_complain(GError **error, bool json)
{
	error_classify(error, WATARI_ERROR_REFUSED, NULL);
	return command_complain_json(*error, json);
}

bool moves_check_answer(JsonObject *answer, GError **error)
{
	if (json_get_bool(answer, "good", false))
		return true;
	return error_set(error, WATARI_ERROR_REFUSED, json_get_string(answer, "next", NULL), "%s",
			 json_get_string(answer, "what", "?"));
}

JsonObject *moves_follow(struct client *client, void (*show)(JsonObject *live, void *data),
			 void *data)
{
	for (;;) {
		g_autoptr(JsonObject) message = client_hear(client, -1, NULL);
		if (!message)
			return NULL;
		const char *type = json_get_string(message, "t", "");
		if (g_str_equal(type, "ended"))
			return g_steal_pointer(&message);
		if (g_str_equal(type, "status") && show)
			show(message, data);
	}
}

int moves_exit_code(JsonObject *ended)
{
	return ended ? (int) json_get_int(ended, "exit_code", WATARI_EXIT_ATTENTION)
		     : WATARI_EXIT_ATTENTION;
}
