/* SPDX-License-Identifier: Apache-2.0 */
/* What every command file uses. */
#pragma once
#include "cli/options.h"

#include "base/error.h"

/* The one place where errors become text: message and next step on stderr. Frees nothing.
 * Returns the exit code. */
int command_complain(const GError *error);
/* The same for a command that has nothing else to show. JSON: a document on stdout, too, which is the
 * same for all commands: {"format", "watari", "outcome": "refused", "exit_code", "error"}. */
int command_complain_json(const GError *error, bool json);

extern const struct command plan_command, rehearse_command, migrate_command, quick_command,
	score_command, resolve_command;
extern const struct command doctor_command, mover_command;
extern const struct command status_command, watch_command, cancel_command, tune_command;
