/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands that move a VM, or prepare that, have in common: one table of options, of which a
 * row may say whose it is, and one way to run a move and to print its report. */
#pragma once
#include "cli/command.h"
#include "conductor/conductor.h"

/* The commands' bits in the rows. */
enum { COMMAND_MIGRATE = 1, COMMAND_QUICK = 2, COMMAND_PLAN = 4, COMMAND_REHEARSE = 8 };

struct move_command_values {
	struct move_request request;
	bool offline, json, quiet, verbose;
	const char *output; /* plan: where to write it; NULL: nowhere */
	const char *plan;   /* of these: the file that is carried out; NULL: none */
};

extern const struct option_row move_rows[];
void move_defaults(void *values);
/* VALUES->request.kind is set. ARGUMENTS: VM and destination, or none with a plan. Returns the exit code. */
int move_command_run(const struct command *command, struct move_command_values *values,
		     char **arguments);
