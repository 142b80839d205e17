/* SPDX-License-Identifier: Apache-2.0 */
/* The desk: where a running conductor answers other programs of the same user. One JSON object a
 * line, both ways, at most 64 KiB; docs/control.md has the words.
 *
 * A client that writes nonsense, or does not read, is dropped; what happens to the move does not
 * depend on any of them. Everything belongs to the main thread. SIGPIPE must be ignored.
 */
#pragma once
#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

enum { DESK_CLIENTS_MAX = 16 };

struct desk;
struct desk_client;
/* REQUEST is borrowed, and has its type under "t". */
typedef void (*desk_asked)(struct desk_client *client, const char *type, JsonObject *request,
			   void *data);

/* NULL with *error: this move cannot be reached from other terminals. */
struct desk *desk_open(const char *directory, const char *id, desk_asked asked, void *data,
		       GError **error);
/* Gives those that follow a moment to take what waits for them. DESK may be NULL. */
void desk_close(struct desk *desk);
/* Takes MESSAGE. */
void desk_answer(struct desk_client *client, JsonObject *message);
/* From here on CLIENT hears what desk_tell() says. */
void desk_follow(struct desk_client *client);
bool desk_is_followed(const struct desk *desk);
/* To all that follow; left out where older words still wait, unless KEPT. Takes MESSAGE. DESK may be
 * NULL. */
void desk_tell(struct desk *desk, JsonObject *message, bool kept);
