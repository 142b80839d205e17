/* SPDX-License-Identifier: Apache-2.0 */
/* The mover's end of the control channel: lines in from stdin, lines out to stdout, neither of
 * which ever blocks the main thread (the stop limit is kept by it).
 *
 * Output waits in a queue while the conductor does not read; statistics are dropped then, other
 * messages kept. Memory: OUTPUT_MAX, beyond which the conductor counts as gone.
 */
#pragma once
#include "base/json.h"
#include "control/messages.h"

struct control;
/* GOT is called with each message (borrowed), LOST once when the other end is gone or cannot be
 * trusted (REASON is NULL at a plain end). Main thread only. */
struct control *control_new(int in, int out, void (*got)(JsonObject *message, void *data),
			    void (*lost)(const char *reason, void *data), void *data);
void control_free(struct control *control);
/* Takes MESSAGE. */
void control_send(struct control *control, JsonObject *message);
/* The same, but left out while older output waits. */
void control_send_if_idle(struct control *control, JsonObject *message);
/* Give the other end up to WAIT_MS to take what waits. */
void control_flush(struct control *control, int wait_ms);
