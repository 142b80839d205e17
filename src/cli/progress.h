/* SPDX-License-Identifier: Apache-2.0 */
/* Progress on stderr: one line redrawn on a terminal, plain lines otherwise. */
#pragma once
#include "conductor/core/report.h"

struct progress {
	bool quiet, verbose, terminal;
	/* its own */
	bool drawn;        /* a line without its newline is on the terminal */
	bool asking;       /* a question is there: nothing may be drawn */
	const char *doing; /* of the last plain line */
	int64_t last_ms;
};

void progress_init(struct progress *progress, bool quiet, bool verbose);
/* The two functions of struct move_observer; DATA is a struct progress. */
void progress_show(const struct move_progress *now, void *data);
void progress_note(const char *text, bool important, void *data);
/* Remove the redrawn line. */
void progress_clear(struct progress *progress);
/* The line's text. Caller frees. */
char *progress_format(const struct move_progress *now);
