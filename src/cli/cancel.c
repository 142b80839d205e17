/* SPDX-License-Identifier: Apache-2.0 */
/* `watari cancel`: ends a running move; the VM stays where it is. */
#include "cli/moves.h"

#include "base/i18n.h"
#include "base/json.h"
#include "cli/command.h"

struct values {
	bool json;
};

static const struct option_row rows[] = {
	{ "json", 0, OPTION_FLAG, offsetof(struct values, json),
	  .help = N_("Print one JSON document.") },
	{ 0 },
};

/* Asked, and followed to its end. */
static JsonObject *cancel(struct client *client, GError **error)
{
	g_autoptr(JsonObject) answer = client_ask(client, client_message("cancel"), error);
	if (!answer || !moves_check_answer(answer, error) ||
	    !client_say(client, client_message("watch"), error))
		return NULL;
	JsonObject *ended = moves_follow(client, NULL, NULL);
	if (!ended)
		error_set(error, WATARI_ERROR_ATTENTION,
			  _("“watari resolve” finds the VM and ends the move right."),
			  _("the program that moved the VM is gone"));
	return ended;
}

/* What was wanted is a VM at the source and no move any more. */
static bool is_cancelled(JsonObject *ended, const char *vm, GError **error)
{
	const char *outcome = json_get_string(ended, "outcome", "");
	JsonObject *failure = json_get_object(ended, "error");
	if (g_str_equal(outcome, "migrated"))
		return error_set(error, WATARI_ERROR_REFUSED, NULL,
				 _("%s had arrived before the move could be cancelled"), vm);
	if (!g_str_equal(outcome, "attention"))
		return true;
	return error_set(error, WATARI_ERROR_ATTENTION,
			 failure ? json_get_string(failure, "next", NULL) : NULL, "%s",
			 failure ? json_get_string(failure, "what", "?") : "?");
}

static void print_end(JsonObject *ended, const char *vm, bool json)
{
	if (json)
		moves_print_json(ended);
	else
		printf(_("The move of %s is cancelled; it runs at the source.\n"), vm);
}

static int run(const struct command *command, void *data, char **arguments)
{
	struct values *values = data;
	g_autoptr(GError) error = NULL;
	g_autoptr(JsonObject) ended = NULL;
	struct client_move *move = client_find(NULL, arguments[0], &error);
	struct client *client = move ? client_open(NULL, move->move->id, &error) : NULL;
	if (client)
		ended = cancel(client, &error);
	if (ended && is_cancelled(ended, move->move->vm_name, &error))
		print_end(ended, move->move->vm_name, values->json);
	client_close(client);
	client_move_free(move);
	if (!error)
		return WATARI_EXIT_OK;
	return moves_complain(&error, values->json);
}

const struct command cancel_command = {
	.name = "cancel",
	.summary = N_("Cancel a running move; the VM stays at the source."),
	.arguments = "VM",
	.arguments_least = 1,
	.arguments_most = 1,
	.offers = { OFFER_MOVE, OFFER_NOTHING },
	.rows = rows,
	.values_size = sizeof(struct values),
	.run = run,
};
