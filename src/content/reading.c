/* SPDX-License-Identifier: Apache-2.0 */
/* Decides from times whether references to disks pay. */
#include "content/reading.h"

void reading_note(struct reading *reading, uint64_t pages, uint64_t us, double send_us,
		  int64_t now_us)
{
	if (pages <= reading->pages || us < reading->us ||
	    (pages - reading->pages < READING_PAGES_MIN && us - reading->us < READING_WAIT_US))
		return;
	double each_us = (double) (us - reading->us) / (double) (pages - reading->pages);
	double bearable_us =
		READING_MARGIN * (send_us > READING_SEND_US ? send_us : READING_SEND_US);
	reading->pages = pages;
	reading->us = us;
	reading->paused_until_us = each_us > bearable_us ? now_us + READING_PAUSE_US : 0;
}

bool reading_pays(struct reading *reading, int64_t now_us)
{
	if (reading->paused_until_us && now_us >= reading->paused_until_us)
		reading->paused_until_us = 0;
	return !reading->paused_until_us;
}
