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

struct quick;
/* NULL, which all of these take, unless the move is a quick one. */
struct quick *quick_new(struct move *move);
/* Called a few times a second with the newest numbers. Stops the VM when it is time; sets the move's
 * mover_reason when --max-stop will be missed. */
void quick_tick(struct quick *quick, const struct job_stats_numbers *numbers);
/* A call to libvirt is under way (which may need a nudge, see phase_perform.c). */
bool quick_is_calling(struct quick *quick);
/* The call is over: when the source's mover broke the move off at --max-stop, its reason is completed by
 * what would have been needed. Frees QUICK. */
void quick_end(struct quick *quick);
