/* SPDX-License-Identifier: Apache-2.0 */
/* What is done and told of a decision of the ladder (ladder.h): the journal, the closing report, the
 * person, and the steps that are not QEMU's own throttle. Main thread. */
#pragma once
#include "conductor/convergence/ladder.h"
#include "conductor/core/move.h"

/* The rules that the user's permissions make. */
void rungs_rules(const struct journey *journey, struct ladder_rules *rules);
/* Carries DECISION out. */
void rungs_take(struct journey *journey, const struct ladder_decision *decision);
/* QEMU slows the VM down by PERCENT now. */
void rungs_note_throttle(struct journey *journey, int percent);
/* The source's mover broke the switchover off, for what reason it says: the VM resumes at the source. */
void rungs_note_broken_off(struct journey *journey, int64_t stopped_ms);
