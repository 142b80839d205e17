/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's own part of the standstill: from the moment in which the source's mover lets the end of the
 * stream through to the moment in which the VM runs at the destination, and the little time in which
 * the mover had not seen yet that the VM was stopped. Nobody can break it off, so it is taken from
 * the ceiling beforehand: as earlier moves between the same two hosts showed it. */
#pragma once
#include "journal/journal.h"

enum { HAND_OVER_MOVES = 8 }; /* so many of the newest are looked at */

/* What to leave for it, of a ceiling: the longest of COUNT measured ones and some more, or a default
 * where there are none; and no less than hand_over_late_ms(). Never more than three quarters of the
 * ceiling. */
int64_t hand_over_choose(const int64_t *measured_ms, int count, uint64_t bandwidth,
			 int64_t ceiling_ms);
/* How late the mover may see the stop behind a cap of BANDWIDTH bytes a second (0: none), for what is in
 * the kernel's buffers comes before it. */
int64_t hand_over_late_ms(uint64_t bandwidth);
/* Those of earlier moves between SOURCE and DESTINATION, either way; at most HAND_OVER_MOVES. Returns
 * how many. JOURNAL may be NULL. */
int hand_over_measured(struct journal *journal, const char *source, const char *destination,
		       int64_t measured_ms[HAND_OVER_MOVES]);
