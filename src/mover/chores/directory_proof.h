/* SPDX-License-Identifier: Apache-2.0 */
/* Proves that both hosts see the same directory: one writes a file of its own with a secret word
 * beside the disk image, the other reads it. The image itself is not touched. */
#pragma once
#include "base/json.h"

/* Carry out a `file-token` message (docs/control.md); the answer is the caller's. */
JsonObject *directory_proof_do(JsonObject *request);
/* Remove what was created and not removed again: the conductor that would say so is gone. */
void directory_proof_clear(void);
