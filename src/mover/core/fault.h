/* SPDX-License-Identifier: Apache-2.0 */
/* Faults on purpose, for tests: builds without -Dfaults=true contain none of it. */
#pragma once
#include "mover/core/observe.h"

/* At the source, between sorting a batch and writing its body: an encoder that lies. */
void fault_encoded(struct transfer *transfer, struct batch *batch);
/* The same for what the compressor wrote. */
void fault_packed(struct transfer *transfer, uint8_t *packed, size_t length);
/* Between unpacking and the check of the tag. */
void fault_decoded(struct transfer *transfer, const struct batch *batch);
/* Between the check of the tag and QEMU: LENGTH bytes of records. */
void fault_late(struct transfer *transfer, const struct batch *batch, uint8_t *records,
		size_t length);
/* So much later than it was asked for comes the last look of “measure”. */
int64_t fault_late_look_ms(const struct mover_setup *settings);
/* Is any file too large to be read at once? SETTINGS may be NULL. */
bool fault_slow_read(const struct mover_setup *settings);
/* At the closed gate. */
void fault_gate(struct transfer *transfer);
/* Behind the gate: the hand-over is decided, and QEMU does not know it yet. */
void fault_release(struct transfer *transfer);
