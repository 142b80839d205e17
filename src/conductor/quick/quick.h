/* SPDX-License-Identifier: Apache-2.0 */
/* Quick migration: the VM stands still while its state is carried over. libvirt stops it (kind QUICK
 * without --prewarm) when the copies of its disks keep up, or this does, in the middle of a live
 * migration, when memory has passed once. Both leave the reason “migration” at the stopped VM, and
 * libvirt lets it run on by itself if the migration fails. Only inside src/conductor.
 */
#pragma once
#include "conductor/core/move.h"

/* The stop is predicted, said, and agreed to by a person at the terminal, unless ASK is false. A
 * refusal without a person. */
bool quick_ask(struct move *move, bool ask, GError **error);
