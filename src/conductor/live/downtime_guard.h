/* SPDX-License-Identifier: Apache-2.0 */
/* The conductor's own eye on the ceiling of the standstill. The source's mover keeps the ceiling,
 * and its child keeps it when the mover hangs (mover/core/watchdog.h). This is for when both do: a
 * second beyond the ceiling the mover is killed through the shell connection, which does not go
 * through it. A dead mover can release nothing any more, and QEMU sees its socket closed. So also
 * behind the gate, as long as libvirt has not said Finish. Main thread only. */
#pragma once
#include "conductor/core/move.h"

struct downtime_guard;

/* LOOKED_AT: somebody else looks for the stop and notes it in MOVE. */
struct downtime_guard *downtime_guard_new(struct move *move, bool looked_at);
/* Looks, and acts; again and again while libvirt migrates. */
void downtime_guard_tick(struct downtime_guard *ceiling);
/* Waits for what was begun. */
void downtime_guard_free(struct downtime_guard *ceiling);
