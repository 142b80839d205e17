/* SPDX-License-Identifier: Apache-2.0 */
/* Is it worth while to refer to blocks of the destination's disks, or are the pages sent faster than that
 * host can read them? Arithmetic only.
 *
 * A page that is sent costs its packed bytes at the link's speed; one that is referred to costs the destination a read.
 * Where reading takes longer, references are left out for READING_PAUSE_US, then tried again.
 *
 * Thread rules: one thread at a time.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define READING_PAUSE_US 2000000
#define READING_PAGES_MIN 4096 /* what one look must be based on, or ... */
#define READING_WAIT_US 500000 /* ... so long a wait */
#define READING_SEND_US 10.0   /* the least that sending a page costs, on however fast a link */
/* Reading is done ahead and side by side, and a busy processor makes it look slower than it is: only
 * what is so many times slower is taken for slow. */
#define READING_MARGIN 10.0

struct reading {
	uint64_t pages, us;      /* that the destination has read, in so long: at the last look */
	int64_t paused_until_us; /* 0: not */
};

/* The destination has read PAGES in all, for which its workers waited US. SEND_US: what a page costs to
 * be sent. */
void reading_note(struct reading *reading, uint64_t pages, uint64_t us, double send_us,
		  int64_t now_us);
bool reading_pays(struct reading *reading, int64_t now_us);
