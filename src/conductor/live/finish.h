/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the VM may have run at the destination: known from libvirt's Finish, which alone starts it. The
 * guard sees that call before the destination does, and it is written down (journal/finish_mark.h). Only
 * inside src/conductor. */
#pragma once
#include "conductor/core/move.h"

/* Before the first virDomainMigrate3: nothing is said yet. */
void finish_begin(struct move *move);
/* Before each: the guard's rules hold, and what it hears is kept. */
void finish_arm(struct move *move);
/* Where it is not proven that the VM never ran there: ENDING_RAN_MAYBE. */
enum ending_ran finish_find_out(struct move *move);
/* It is proven, and not only by a person's word, that Finish was not carried out there and cannot be any
 * more, whatever is still on its way. */
bool finish_never_comes(struct move *move);
/* Nothing proves it from here on. */
bool finish_forget(struct move *move);
