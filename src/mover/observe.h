/* SPDX-License-Identifier: Apache-2.0 */
/* Lets the stream reader see what passes and tells the run: counters, blocks, the stop. It changes
 * nothing: the bytes go on as they came, understood or not. */
#pragma once
#include "mover/run.h"

struct observer;
struct observer *observer_new(struct run *run);
void observer_free(struct observer *observer);
void observer_see(struct observer *observer, const uint8_t *data, size_t length);
/* Offset inside the last DATA of the first byte of kind KIND, -1: none (faults aim with it). */
ssize_t observer_find(struct observer *observer, enum stream_kind kind);
