/* SPDX-License-Identifier: Apache-2.0 */
/* What phase_measure.c and phase_forecast.c share. Only inside src/conductor/measure. */
#pragma once
#include "base/error.h"

struct move;
/* How much may be spent on knowing it. */
struct budget {
	int64_t probe_bytes, probe_ms;
	int64_t windows_ms[3]; /* when to look at the memory; 0: no more */
	int64_t scan_ms;       /* of the images, beside the looks */
};
const struct budget *prediction_budget(const struct move *move);
/* A plan without numbers is none; a move without a forecast is a move. Takes FAILURE. */
bool prediction_do_without(struct move *move, GError *failure, GError **error);
