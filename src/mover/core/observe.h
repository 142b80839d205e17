/* SPDX-License-Identifier: Apache-2.0 */
/* The stream reader of a move: what it sees goes to the run: counters, blocks, the stop. It changes
 * nothing. At the source it reads what QEMU sends, at the destination what is emitted. */
#pragma once
#include "content/batch.h"
#include "mover/core/transfer.h"

struct observer;
struct observer *observer_new(struct transfer *transfer);
void observer_free(struct observer *observer);
struct stream_reader *observer_reader(struct observer *observer);
/* What was added to BATCH: read it (batch_read). */
void observer_read(struct observer *observer, struct batch *batch);
/* Bytes that need no batch. */
void observer_see(struct observer *observer, const uint8_t *data, size_t length);
