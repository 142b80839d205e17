/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to a running conductor (server.h), from another process; and which moves there are
 * at all. Calls block, for at most the time given. */
#pragma once
#include "journal/journal.h"

#include <json-glib/json-glib.h>

enum client_state {
	CLIENT_RUNNING, /* its conductor answers */
	CLIENT_SILENT,  /* its conductor lives, and does not answer */
	CLIENT_BROKEN,  /* its conductor is gone, and the move has no end in the journal */
	CLIENT_ENDED,
	CLIENT_STATE_LAST
};
const char *client_state_name(enum client_state state); /* stable word */

struct client_move {
	struct journal_move *move;
	enum client_state state;
	JsonObject *live; /* its answer to "status", where it runs */
};
void client_move_free(struct client_move *move);
/* The newest MOST moves of VM (name, UUID or a move's id; NULL: all), and whether they run: struct
 * client_move, newest first. DIRECTORY NULL: the default one. */
GPtrArray *client_list(const char *directory, const char *vm, int most, GError **error);
/* The one move of VM that runs; NULL with the reason where there is none, or more than one. */
struct client_move *client_find(const char *directory, const char *vm, GError **error);

struct client;
struct client *client_open(const char *directory, const char *id, GError **error);
void client_close(struct client *client);
/* Takes MESSAGE. */
bool client_say(struct client *client, JsonObject *message, GError **error);
/* The next message; NULL: an error, or (without one) its conductor closed the connection. -1: waits for
 * ever. Unref the result. */
JsonObject *client_hear(struct client *client, int timeout_ms, GError **error);
/* {"t": TYPE} said, and the answer heard. */
JsonObject *client_ask(struct client *client, JsonObject *message, GError **error);
JsonObject *client_message(const char *type);
