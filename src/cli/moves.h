/* SPDX-License-Identifier: Apache-2.0 */
/* What status, watch, cancel and tune have in common: how a move of the journal, and the words of a
 * running one (docs/control.md), are shown. */
#pragma once
#include "conductor/core/report.h"
#include "conductor/server/client.h"

/* The numbers of a message "status". Strings stay owned by LIVE. */
void moves_read_progress(JsonObject *live, struct move_progress *progress);
/* One line for a person; no newline. Caller frees. */
char *moves_format(const struct client_move *move);
/* The same as JSON. */
JsonObject *moves_describe(const struct client_move *move);
void moves_print_json(JsonObject *object);
/* How a command that failed ends: a refusal unless *ERROR has a class; as JSON too if asked for. Returns the exit
 * code. */
int moves_complain(GError **error, bool json);
/* What the conductor answered, as an error where it said no. */
bool moves_check_answer(JsonObject *answer, GError **error);
/* Follow the move that VISIT has been told to watch. SHOW is called with each message, LAST is the one
 * "ended", or NULL where the conductor died. False with *error on nonsense. */
JsonObject *moves_follow(struct client *client, void (*show)(JsonObject *live, void *data),
			 void *data);
/* The exit code of a move, from its last words. */
int moves_exit_code(JsonObject *ended);
