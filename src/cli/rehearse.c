/* SPDX-License-Identifier: Apache-2.0 */
/* `watari rehearse`: everything of a move but the switchover. */
#include "cli/move.h"

#include "base/i18n.h"

static int run(const struct command *command, void *data, char **arguments)
{
	struct move_command_values *values = data;
	values->request.kind = MOVE_REHEARSAL;
	return move_command_run(command, values, arguments);
}

const struct command rehearse_command = {
	.name = "rehearse",
	.summary = N_("Do everything of a move but the switchover."),
	.arguments = "[HOST:]VM DEST",
	.arguments_least = 2,
	.arguments_most = 2,
	.offers = { OFFER_VM, OFFER_HOST },
	.rows = move_rows,
	.bit = COMMAND_REHEARSE,
	.values_size = sizeof(struct move_command_values),
	.defaults = move_defaults,
	.run = run,
};
