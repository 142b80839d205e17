/* SPDX-License-Identifier: Apache-2.0 */
/* The next step of an error that names none: a host that was lost, a mover that died, what libvirt says in its own
 * words. One place for all of them, asked when a move has ended; whoever knows better has said so before. */
#pragma once
#include "conductor/core/move.h"

/* A mover gave up for a reason of this kind. Before mover_reason is set: what comes of an earlier reason does not
 * count, unless that was only the other mover's end. */
void advice_take_code(struct move *move, const char *code);
/* What may help when this move fails, by what is known of hosts and movers now: to be asked before they are let
 * go. Caller frees. */
char *advice_find(struct move *move);
/* Only of a mover or its host that is gone; NULL: none is. Caller frees. */
char *advice_on_lost_mover(struct move *move);
/* *ERROR (may be NULL) gets ADVICE unless it has a next step or needs none, as a cancelled move does. */
void advice_give(GError **error, const char *advice);
/* Before anything has moved: libvirt does not know a VM that has ended, and says just that. */
void advice_explain_ended(struct move *move, GError **error);
