/* SPDX-License-Identifier: Apache-2.0 */
/* All commands of the program. */
#include "cli/command.h"

#include "base/i18n.h"
#include "base/json.h"
#include "base/version.h"
#include "cli/moves.h"

#include <string.h>

const struct command *const commands[] = {
	&plan_command,
	&rehearse_command,
	&migrate_command,
	&quick_command,
	&status_command,
	&watch_command,
	&cancel_command,
	&tune_command,
	&score_command,
	&resolve_command,
	&doctor_command,
	&mover_command,
	NULL,
};

const struct command *command_find(const char *name)
{
	for (const struct command *const *command = commands; *command; command++)
		if (g_str_equal((*command)->name, name))
			return *command;
	return NULL;
}

int command_complain(const GError *error)
{
	g_autofree char *what = error_what(error);
	g_autofree char *next = error_next(error);
	fprintf(stderr, "watari: %s\n", what);
	if (next)
		fprintf(stderr, "        %s\n", next);
	return (int) error_exit_code(error);
}

int command_complain_json(const GError *error, bool json)
{
	if (!json)
		return command_complain(error);
	JsonObject *document = json_object_new();
	json_object_set_int_member(document, "format", 1);
	json_set_text(document, "watari", watari_version);
	json_set_text(document, "outcome", "refused");
	json_object_set_int_member(document, "exit_code", (gint64) error_exit_code(error));
	json_object_set_object_member(document, "error", json_describe_error(error));
	moves_print_json(document);
	json_object_unref(document);
	return command_complain(error);
}
