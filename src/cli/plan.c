/* SPDX-License-Identifier: Apache-2.0 */
/* `watari plan`: what a move would take and what speaks against it; nothing changes. */
#include "cli/move.h"

#include "base/i18n.h"

static int run(const struct command *command, void *data, char **arguments)
{
	struct move_command_values *values = data;
	values->request.kind = MOVE_PLAN;
	return move_command_run(command, values, arguments);
}

const struct command plan_command = {
	.name = "plan",
	.summary = N_("Say what a move would take, and what speaks against it."),
	.arguments = "[HOST:]VM DEST",
	.arguments_least = 2,
	.arguments_most = 2,
	.offers = { OFFER_VM, OFFER_HOST },
	.rows = move_rows,
	.bit = COMMAND_PLAN,
	.values_size = sizeof(struct move_command_values),
	.defaults = move_defaults,
	.run = run,
};
