/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of a decision on QEMU's downtime limit: the journal, the closing report, and (where
 * it is more than a trifle) the person. Main thread. */
#pragma once
#include "conductor/convergence/downtime_limit.h"
#include "conductor/core/move.h"

void limit_decisions_note(struct move *move, const struct limit_change *change);
