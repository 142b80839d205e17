/* SPDX-License-Identifier: Apache-2.0 */
/* What the link carries, tried out before anything moves: the source sends bytes that mean nothing, the
 * destination takes them in. Between "linked" and "start", when nobody else uses the link. */
#pragma once
#include "base/task.h"
#include "mover/core/transfer.h"

#define PROBE_BYTES_MOST (256LL * 1024 * 1024)
#define PROBE_MS_MOST 10000

/* MESSAGE: `bytes` and `ms`, whichever comes first. The answer is “probed”; the task's SEND gets it.
 * NULL: the message makes no sense. */
struct task *probe_start(struct transfer *transfer, JsonObject *message,
			 void (*send)(JsonObject *answer, void *data), void *data, GError **error);
