/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps QEMU from starting on images that are being read: holds the lock by which QEMU says "nobody
 * else may write". qemu-img takes that lock for qcow2 only, and lets a raw image change under its
 * hands. What holds it ends with this process. */
#pragma once
#include "base/json.h"

struct image_lock;
/* Carry out a `hold` message (docs/control.md): all of its paths or none. What *HOLD held is let go.
 * The answer is the caller's. */
JsonObject *image_lock_do(struct image_lock **hold, JsonObject *request);
void image_lock_free(struct image_lock *hold);
