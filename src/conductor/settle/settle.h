/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a move that called libvirt's migration: asks both hosts where the VM is, ends what
 * is half done, tells the network, puts back what was taken off. Fills the report's outcome.
 * SAID_MIGRATED and *ERROR are what libvirt's call said; *ERROR is replaced where the hosts know
 * better. */
#pragma once
#include "conductor/core/move.h"

bool move_settle(struct move *move, bool said_migrated, GError **error);
/* What was taken off goes back to the source: for a move that ends before the call. */
void move_restore_source(struct move *move);
