/* SPDX-License-Identifier: Apache-2.0 */
/* Faults on purpose, for tests: builds without -Dfaults=true contain none of it. */
#pragma once
#include "mover/observe.h"

/* Between decoding and the check of the tag. */
void fault_decoded(struct run *run, struct observer *observer, struct link_frame *frame);
/* Between the check of the tag and QEMU. */
void fault_late(struct run *run, struct observer *observer, struct link_frame *frame);
/* At the closed gate. */
void fault_gate(struct run *run);
/* Behind the gate: the hand-over is decided, and QEMU does not know it yet. */
void fault_release(struct run *run);
