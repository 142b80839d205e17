/* SPDX-License-Identifier: Apache-2.0 */
/* `watari status`: the moves that run, and the last ones. */
#include "cli/moves.h"

#include "base/i18n.h"
#include "base/json.h"
#include "cli/command.h"

struct values {
	int count;
	bool json;
};

#define AT(member) offsetof(struct values, member)

static const struct option_row rows[] = {
	{ "count", 'n', OPTION_NUMBER, AT(count), N_("NUMBER"), .least = 1, .most = 1000,
	  .help = N_("How many moves are shown, the newest first. The default is 10.") },
	{ "json", 0, OPTION_FLAG, AT(json), .help = N_("Print one JSON document.") },
	{ 0 },
};

static void set_defaults(void *data)
{
	struct values *values = data;
	values->count = 10;
}

static void print_status_json(GPtrArray *moves)
{
	g_autoptr(JsonObject) object = json_object_new();
	JsonArray *array = json_array_new();
	for (guint i = 0; i < moves->len; i++)
		json_array_add_object_element(array, moves_describe(moves->pdata[i]));
	json_object_set_int_member(object, "format", 1);
	json_object_set_array_member(object, "moves", array);
	json_object_set_null_member(object, "error");
	moves_print_json(object);
}

static void print_status_text(GPtrArray *moves, const char *vm)
{
	for (guint i = 0; i < moves->len; i++) {
		g_autofree char *line = moves_format(moves->pdata[i]);
		puts(line);
	}
	if (moves->len == 0 && vm)
		printf(_("The journal on this machine knows no move of “%s”.\n"), vm);
	else if (moves->len == 0)
		puts(_("The journal on this machine knows no moves."));
}

static int run(const struct command *command, void *data, char **arguments)
{
	struct values *values = data;
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) moves = client_list(NULL, arguments[0], values->count, &error);
	if (error)
		return moves_complain(&error, values->json);
	if (values->json)
		print_status_json(moves);
	else
		print_status_text(moves, arguments[0]);
	return WATARI_EXIT_OK;
}

const struct command status_command = {
	.name = "status",
	.summary = N_("Show the moves that run, and the last ones."),
	.arguments = "[VM]",
	.arguments_least = 0,
	.arguments_most = 1,
	.offers = { OFFER_VM, OFFER_NOTHING },
	.rows = rows,
	.values_size = sizeof(struct values),
	.defaults = set_defaults,
	.run = run,
};
