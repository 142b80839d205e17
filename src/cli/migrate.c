/* SPDX-License-Identifier: Apache-2.0 */
/* `watari migrate`: moves a VM to another host, as it runs or while it is off. */
#include "cli/move.h"

#include "base/i18n.h"

static int run(const struct command *command, void *data, char **arguments)
{
	struct move_values *values = data;
	values->request.kind = values->offline ? JOURNEY_OFFLINE : JOURNEY_LIVE;
	return move_run(command, values, arguments);
}

const struct command migrate_command = {
	.name = "migrate",
	.summary = N_("Move a running VM to another host."),
	.arguments = "[HOST:]VM DEST | --plan FILE",
	.arguments_least = 0,
	.arguments_most = 2,
	.offers = { OFFER_VM, OFFER_HOST },
	.rows = move_rows,
	.bit = MOVE_MIGRATE,
	.values_size = sizeof(struct move_values),
	.defaults = move_defaults,
	.run = run,
	.print_usage_error = move_print_usage_error,
};
