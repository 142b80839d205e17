/* SPDX-License-Identifier: Apache-2.0 */
/* The progress line: no number that was read before the VM stopped is shown after it. */
#include "cli/progress.h"
#include "conductor/core/move.h"

enum { STOP_US = 5000000 };

static struct move moving(void)
{
	return (struct move){
		.progress = { .doing = "copying memory",
			      .bytes = 135 << 20,
			      .rate = 36 << 20,
			      .iteration = 3,
			      .dirty_rate = 2 << 20,
			      .remaining = 104 << 20,
			      .left_ms = 2800,
			      .asked_us = STOP_US - 1 },
	};
}

static void assert_shown(const struct move *move, const char *text)
{
	const struct move_progress shown = move_shown_progress(move);
	g_autofree char *line = progress_format(&shown);
	g_assert_cmpstr(line, ==, text);
}

static void test_running(void)
{
	struct move move = moving();
	assert_shown(&move, "copying memory, 135 MiB at 36.0 MiB/s, pass 3, the VM changes "
			    "2.0 MiB/s, 104 MiB remain, about 2.8 s left");
}

/* The source's mover has seen the end of the memory. */
static void test_stopped(void)
{
	struct move move = moving();
	move.stopped = true;
	move.stopped_us = STOP_US;
	move.progress.doing = "handing over";
	assert_shown(&move, "handing over, 135 MiB so far");
	move.progress.asked_us = STOP_US + 1; /* QEMU's late answer is no newer */
	assert_shown(&move, "handing over, 135 MiB so far");
}

/* libvirt has stopped it, and much follows: what is read from then on is shown. */
static void test_standing(void)
{
	struct move move = moving();
	move.still = true;
	move.still_us = STOP_US;
	assert_shown(&move, "copying memory, 135 MiB at 36.0 MiB/s");
	move.progress.asked_us = STOP_US + 1;
	assert_shown(&move,
		     "copying memory, 135 MiB at 36.0 MiB/s, 104 MiB remain, about 2.8 s left");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/progress/running", test_running);
	g_test_add_func("/progress/stopped", test_stopped);
	g_test_add_func("/progress/standing", test_standing);
	return g_test_run();
}
