/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands that move a VM, or prepare that, have in common: one table of options, of which a
 * row may say whose it is, and one way to run a journey and to print its report. */
#pragma once
#include "cli/command.h"
#include "conductor/conductor.h"

/* The commands' bits in the rows. */
enum { MOVE_MIGRATE = 1, MOVE_QUICK = 2, MOVE_PLAN = 4, MOVE_REHEARSE = 8 };

struct move_values {
	struct journey_request request;
	bool offline, json, quiet, verbose;
	const char *output; /* plan: where to write it; NULL: nowhere */
	const char *plan;   /* of these: the file that is carried out; NULL: none */
};

extern const struct option_row move_rows[];
void move_defaults(void *values);
/* VALUES->request.kind is set. ARGUMENTS: VM and destination, or none with a plan. Returns the exit code. */
int move_run(const struct command *command, struct move_values *values, char **arguments);
