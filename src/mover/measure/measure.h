/* SPDX-License-Identifier: Apache-2.0 */
/* What a mover measures of its host, and at the source of the running guest. */
#pragma once
#include "base/task.h"
#include "mover/core/setup.h"

/* MESSAGE (docs/control.md): when to look, at what. The answer is “measured”, after
 * “measuring” with what is known at the end of the first of several windows. NULL: it makes no sense. */
struct task *measure_start(const struct mover_setup *settings, JsonObject *message,
			   void (*send)(JsonObject *answer, void *data), void *data,
			   GError **error);
