/* SPDX-License-Identifier: Apache-2.0 */
/* Faults on purpose, for tests: builds without -Dfaults=true contain none of it. */
#pragma once
#include "mover/observe.h"

/* Between unpacking and the check of the tag. */
void fault_decoded(struct run *run, const struct batch *batch);
/* Between the check of the tag and QEMU: LENGTH bytes of records. */
void fault_late(struct run *run, const struct batch *batch, uint8_t *records, size_t length);
/* At the closed gate. */
void fault_gate(struct run *run);
/* Behind the gate: the hand-over is decided, and QEMU does not know it yet. */
void fault_release(struct run *run);
