/* SPDX-License-Identifier: Apache-2.0 */
/* How many unconsumed bytes a direction may have: enough to fill the path, no more.
 *
 * The wanted size is max(2 x rate x round trip, WINDOW_DRAIN_US of the rate). The rate is what the
 * peer's application consumes, sampled over max(round trip, WINDOW_SAMPLE_US). While the window is
 * what holds the rate down, each sample asks for a larger one, so it grows by half a round trip;
 * once the path holds it down, window and rate agree. A sample taken while the sender had nothing
 * to send says nothing about the path and can only raise the rate.
 *
 * The round trip must be that of the empty path (the kernel's minimum), not one with our own queue
 * in it: by Little's law rate x such a round trip is always the window itself, which would grow for
 * ever.
 *
 * Pure arithmetic, no locks, no clock of its own.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define WINDOW_START (1024 * 1024)
#define WINDOW_MIN (128 * 1024)
#define WINDOW_DRAIN_US 30000
#define WINDOW_HURRY_DRAIN_US 5000
#define WINDOW_HURRY_MIN (32 * 1024)
#define WINDOW_SAMPLE_US 10000

struct window {
	uint64_t minimum, maximum, size; /* bytes */
	int64_t drain_us;                /* so long may what is in flight take, at least */
	double rate;                     /* bytes a second, smoothed */
	int64_t sample_start_us;
	uint64_t sample_bytes;
	bool limited; /* the sender waited for the window in this sample */
};

/* minimum == maximum: a fixed window. */
void window_init(struct window *window, uint64_t minimum, uint64_t maximum);
/* From now on little may be in flight: what is urgent stands behind it. Only for windows that are not
 * fixed. */
void window_hurry(struct window *window);
/* The first bytes after nothing was in flight: what was idle is not measured. */
void window_restart(struct window *window, int64_t now_us);
/* The sender would send more if it could. */
void window_limited(struct window *window);
void window_consumed(struct window *window, uint64_t bytes, int64_t now_us, int64_t round_trip_us);
