/* SPDX-License-Identifier: Apache-2.0 */
/* What is done and told of a decision of the ladder (ladder.h): the journal, the closing report, the
 * person, and the steps that are not QEMU's own throttle. Main thread. */
#pragma once
#include "conductor/convergence/ladder.h"
#include "conductor/core/move.h"

/* The rules that the user's permissions make. */
void ladder_decisions_rules(const struct move *move, struct ladder_rules *rules);
/* Carries DECISION out. */
void ladder_decisions_take(struct move *move, const struct ladder_decision *decision);
/* QEMU slows the VM down by PERCENT now. */
void ladder_decisions_note_throttle(struct move *move, int percent);
