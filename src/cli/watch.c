/* SPDX-License-Identifier: Apache-2.0 */
/* `watari watch`: follows a running move until its end. */
#include "cli/moves.h"

#include "base/i18n.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/progress.h"

struct values {
	bool json;
};

static const struct option_row rows[] = {
	{ "json", 0, OPTION_FLAG, offsetof(struct values, json),
	  .help = N_("Print one JSON object a line: how the move is, and at last how it ended.") },
	{ 0 },
};

/* Its words change place with each message, so that the line is drawn when they change. */
struct showing {
	struct progress progress;
	char *doing;
};

static void print_line(JsonObject *message, void *data)
{
	g_autofree char *text = json_print_object(message);
	puts(text);
	fflush(stdout);
}

static void show_watched(JsonObject *live, void *data)
{
	struct showing *showing = data;
	struct move_progress progress;
	moves_read_progress(live, &progress);
	if (g_strcmp0(showing->doing, progress.doing) != 0) {
		g_free(showing->doing);
		showing->doing = g_strdup(progress.doing);
	}
	progress.doing = showing->doing;
	progress_show(&progress, &showing->progress);
}

static bool tell_end(JsonObject *ended, const char *vm, GError **error)
{
	JsonObject *failure = ended ? json_get_object(ended, "error") : NULL;
	if (!ended)
		return error_set(error, WATARI_ERROR_ATTENTION,
				 _("“watari resolve” finds the VM and ends the move right."),
				 _("the program that moved %s is gone"), vm);
	if (failure) {
		fprintf(stderr, "watari: %s\n", json_get_string(failure, "what", "?"));
		return true;
	}
	printf(_("%s has arrived.\n"), vm);
	return true;
}

static int follow(struct client *client, const char *vm, bool json, GError **error)
{
	struct showing showing = { 0 };
	progress_init(&showing.progress, false, false);
	g_autoptr(JsonObject) ended =
		moves_follow(client, json ? print_line : show_watched, json ? NULL : &showing);
	progress_clear(&showing.progress);
	g_free(showing.doing);
	if (json && ended)
		print_line(ended, NULL);
	else if (!tell_end(ended, vm, error))
		return WATARI_EXIT_ATTENTION;
	return moves_exit_code(ended);
}

static int run(const struct command *command, void *data, char **arguments)
{
	struct values *values = data;
	g_autoptr(GError) error = NULL;
	int code = WATARI_EXIT_OK;
	struct client_move *move = client_find(NULL, arguments[0], &error);
	struct client *client = move ? client_open(NULL, move->move->id, &error) : NULL;
	if (client && client_say(client, client_message("watch"), &error))
		code = follow(client, move->move->vm_name, values->json, &error);
	client_close(client);
	client_move_free(move);
	if (!error)
		return code;
	return moves_complain(&error, values->json);
}

const struct command watch_command = {
	.name = "watch",
	.summary = N_("Follow a running move until its end."),
	.arguments = "VM",
	.arguments_least = 1,
	.arguments_most = 1,
	.offers = { OFFER_MOVE, OFFER_NOTHING },
	.rows = rows,
	.values_size = sizeof(struct values),
	.run = run,
};
