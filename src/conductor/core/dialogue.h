/* SPDX-License-Identifier: Apache-2.0 */
/* The conductor's end of the control channel to one mover (docs/control.md).
 *
 * Reads lines in the default main context and hands every message to the callback; the newest
 * message of each type is also kept until it is taken. A dialogue that failed keeps the reason.
 * Thread rules: main thread only.
 */
#pragma once
#include "base/error.h"
#include "control/messages.h"
#include "host/remote/remote.h"

#include <json-glib/json-glib.h>

struct dialogue;
typedef void (*dialogue_heard)(struct dialogue *dialogue, const char *type, JsonObject *message,
			       void *data);

/* Start COMMAND at HOST and talk to it. NAME is for messages ("the mover at b"). */
struct dialogue *dialogue_open(const struct remote_shell *shell, const struct host_address *host,
			       const char *const *command, const char *name, dialogue_heard heard,
			       void *data, GError **error);
/* Send a message; takes the reference. */
bool dialogue_send(struct dialogue *dialogue, JsonObject *message, GError **error);
/* A new message of TYPE to be filled. */
JsonObject *dialogue_message(const char *type);
/* The newest message of TYPE that was not taken yet, or NULL. Unref it. */
JsonObject *dialogue_take(struct dialogue *dialogue, const char *type);
/* Why the dialogue does not work any more, or NULL: end of file, an error message, nonsense. */
const GError *dialogue_failure(const struct dialogue *dialogue);
const char *dialogue_name(const struct dialogue *dialogue);
/* What the program wrote on stderr. Caller frees. */
char *dialogue_complaint(struct dialogue *dialogue);
/* End: closes stdin, waits a moment, kills. True: it ended by itself. */
bool dialogue_end(struct dialogue *dialogue);
void dialogue_free(struct dialogue *dialogue);
