/* SPDX-License-Identifier: Apache-2.0 */
/* A visit at the desk of a running conductor (server.h), from another process; and which moves there are
 * at all. Calls block, for at most the time given. */
#pragma once
#include "journal/journal.h"

#include <json-glib/json-glib.h>

enum visit_state {
	VISIT_RUNNING, /* its conductor answers */
	VISIT_SILENT,  /* its conductor lives, and does not answer */
	VISIT_BROKEN,  /* its conductor is gone, and the move has no end in the journal */
	VISIT_ENDED,
	VISIT_STATE_LAST
};
const char *visit_state_name(enum visit_state state); /* stable word */

struct visit_move {
	struct journal_move *move;
	enum visit_state state;
	JsonObject *live; /* its answer to "status", where it runs */
};
void visit_move_free(struct visit_move *move);
/* The newest MOST moves of VM (name, UUID or a move's id; NULL: all), and whether they run: struct
 * visit_move, newest first. DIRECTORY NULL: the default one. */
GPtrArray *visit_list(const char *directory, const char *vm, int most, GError **error);
/* The one move of VM that runs; NULL with the reason where there is none, or more than one. */
struct visit_move *visit_find(const char *directory, const char *vm, GError **error);

struct visit;
struct visit *visit_open(const char *directory, const char *id, GError **error);
void visit_close(struct visit *visit);
/* Takes MESSAGE. */
bool visit_say(struct visit *visit, JsonObject *message, GError **error);
/* The next message; NULL: an error, or (without one) its conductor closed the connection. -1: waits for
 * ever. Unref the result. */
JsonObject *visit_hear(struct visit *visit, int timeout_ms, GError **error);
/* {"t": TYPE} said, and the answer heard. */
JsonObject *visit_ask(struct visit *visit, JsonObject *message, GError **error);
JsonObject *visit_message(const char *type);
