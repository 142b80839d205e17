/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the process that drives a move of the journal is still there. */
#pragma once
#include "record/journal.h"

/* False once the move has an end. The pid of a dead conductor may belong to something else now. */
bool conductor_lives(const struct journal_move *move);
