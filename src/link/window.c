/* SPDX-License-Identifier: Apache-2.0 */
/* The window's arithmetic; see window.h. */
#include "link/window.h"

#include <glib.h>

void window_init(struct window *window, uint64_t minimum, uint64_t maximum)
{
	*window = (struct window){
		.minimum = minimum,
		.maximum = maximum,
		.size = CLAMP(WINDOW_START, minimum, maximum),
		.drain_us = WINDOW_DRAIN_US,
	};
}

void window_hurry(struct window *window)
{
	if (window->minimum == window->maximum)
		return;
	window->minimum = WINDOW_HURRY_MIN;
	window->drain_us = WINDOW_HURRY_DRAIN_US;
}

void window_restart(struct window *window, int64_t now_us)
{
	window->sample_start_us = now_us;
	window->sample_bytes = 0;
	window->limited = false;
}

void window_limited(struct window *window)
{
	window->limited = true;
}

/* Up by half of the difference, down by a quarter: a path that is found to be wider is used at
 * once, one slow moment is not yet a slow path. */
static void learn_rate(struct window *window, double sample)
{
	if (sample > window->rate)
		window->rate += (sample - window->rate) / 2;
	else if (window->limited)
		window->rate += (sample - window->rate) / 4;
}

void window_consumed(struct window *window, uint64_t bytes, int64_t now_us, int64_t round_trip_us)
{
	window->sample_bytes += bytes;
	int64_t elapsed_us = now_us - window->sample_start_us;
	if (elapsed_us < MAX(round_trip_us, WINDOW_SAMPLE_US))
		return;
	learn_rate(window, (double) window->sample_bytes * 1e6 / (double) elapsed_us);
	window_restart(window, now_us);

	double wanted = window->rate * (double) MAX(2 * round_trip_us, window->drain_us) / 1e6;
	window->size = (uint64_t) CLAMP(wanted, (double) window->minimum, (double) window->maximum);
}
