/* SPDX-License-Identifier: Apache-2.0 */
/* `watari quick`: moves a VM that stands still meanwhile. */
#include "cli/move.h"

#include "base/i18n.h"

static int run(const struct command *command, void *data, char **arguments)
{
	struct move_command_values *values = data;
	values->request.kind = MOVE_QUICK;
	return move_command_run(command, values, arguments);
}

const struct command quick_command = {
	.name = "quick",
	.summary = N_("Stop a VM, move it to another host in one pass, let it go on there."),
	.arguments = "[HOST:]VM DEST | --plan FILE",
	.arguments_least = 0,
	.arguments_most = 2,
	.offers = { OFFER_VM, OFFER_HOST },
	.rows = move_rows,
	.bit = COMMAND_QUICK,
	.values_size = sizeof(struct move_command_values),
	.defaults = move_defaults,
	.run = run,
};
