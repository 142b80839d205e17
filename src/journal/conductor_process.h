/* SPDX-License-Identifier: Apache-2.0 */
/* The process that drives a move: how the journal names it, and whether it is still there. */
#pragma once
#include "base/json.h"
#include "journal/journal.h"

/* This very process, into the OPTIONS of a row: the start beside the number, and the boot. */
void conductor_describe(JsonObject *options);
/* False once the move has an end, and when its process has. */
bool conductor_lives(const struct journal_move *move);
