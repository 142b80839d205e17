/* SPDX-License-Identifier: Apache-2.0 */
/* `watari migrate`: moves a VM to another host, as it runs or while it is off. */
#include "cli/move.h"

#include "base/i18n.h"

static bool check_strategy(const struct move_command_values *values, GError **error)
{
	const struct move_request *request = &values->request;
	if (request->strategy == MOVE_STRATEGY_LIVE && request->allow_postcopy)
		return error_set(error, WATARI_ERROR_USAGE,
				 _("Leave one of them out; “--strategy auto” uses what is "
				   "permitted."),
				 _("--strategy live and --allow-postcopy contradict each other"));
	if (values->offline && request->strategy != MOVE_STRATEGY_AUTO)
		return error_set(error, WATARI_ERROR_USAGE, _("Leave --strategy out."),
				 _("a VM that is off moves in one way only"));
	return true;
}

static int run(const struct command *command, void *data, char **arguments)
{
	struct move_command_values *values = data;
	values->request.kind = values->offline                                   ? MOVE_OFFLINE
			       : values->request.strategy == MOVE_STRATEGY_QUICK ? MOVE_QUICK
										 : MOVE_LIVE;
	g_autoptr(GError) error = NULL;
	if (check_strategy(values, &error))
		return move_command_run(command, values, arguments);
	return command_complain_json(error, values->json);
}

const struct command migrate_command = {
	.name = "migrate",
	.summary = N_("Move a running VM to another host."),
	.arguments = "[HOST:]VM DEST | --plan FILE",
	.arguments_least = 0,
	.arguments_most = 2,
	.offers = { OFFER_VM, OFFER_HOST },
	.rows = move_rows,
	.bit = COMMAND_MIGRATE,
	.values_size = sizeof(struct move_command_values),
	.defaults = move_defaults,
	.run = run,
};
