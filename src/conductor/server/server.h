/* SPDX-License-Identifier: Apache-2.0 */
/* Where a running conductor answers other programs of the same user. One JSON object a
 * line, both ways, at most 64 KiB; docs/control.md has the words.
 *
 * A client that writes nonsense, or does not read, is dropped; what happens to the move does not
 * depend on any of them. Everything belongs to the main thread. SIGPIPE must be ignored.
 */
#pragma once
#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

enum { SERVER_CLIENTS_MAX = 16 };

struct server;
struct server_client;
/* REQUEST is borrowed, and has its type under "t". */
typedef void (*server_asked)(struct server_client *client, const char *type, JsonObject *request,
			     void *data);

/* NULL with *error: this move cannot be reached from other terminals. */
struct server *server_open(const char *directory, const char *id, server_asked asked, void *data,
			   GError **error);
/* Gives those that follow a moment to take what waits for them. DESK may be NULL. */
void server_close(struct server *server);
/* Takes MESSAGE. */
void server_answer(struct server_client *client, JsonObject *message);
/* From here on CLIENT hears what server_tell() says. */
void server_follow(struct server_client *client);
bool server_is_followed(const struct server *server);
/* To all that follow; left out where older words still wait, unless KEPT. Takes MESSAGE. DESK may be
 * NULL. */
void server_tell(struct server *server, JsonObject *message, bool kept);
