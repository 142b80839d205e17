/* SPDX-License-Identifier: Apache-2.0 */
/* Draws the progress. Errors of stderr are ignored: a lost terminal must not stop a migration. */
#include "cli/progress.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/unit.h"
#include "base/plain.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { REDRAW_MS = 200, PLAIN_MS = 2000 };

void progress_init(struct progress *progress, bool quiet, bool verbose)
{
	const char *kind = g_getenv("TERM");
	*progress = (struct progress){ .quiet = quiet, .verbose = verbose };
	progress->terminal = isatty(STDERR_FILENO) && kind && !g_str_equal(kind, "dumb");
}

static void add_disks(GString *line, const struct move_progress *now)
{
	g_autofree char *done = unit_format_bytes(now->disk_done);
	g_autofree char *total = unit_format_bytes(now->disk_total);
	g_autofree char *rate = unit_format_rate(now->rate);
	/* TRANSLATORS: bytes of the disks so far, of all, and bytes a second */
	g_string_append_printf(line, _(", %s of %s at %s"), done, total, rate);
	if (now->left_ms >= 0) {
		g_autofree char *left = unit_format_duration_ms(now->left_ms);
		g_string_append_printf(line, _(", about %s left"), left);
	}
}

static void add_numbers(GString *line, const struct move_progress *now)
{
	g_autofree char *bytes = unit_format_bytes(now->bytes);
	g_autofree char *rate = unit_format_rate(now->rate);
	if (now->rate > 0)
		/* TRANSLATORS: bytes of the migration so far, and bytes a second */
		g_string_append_printf(line, _(", %s at %s"), bytes, rate);
	else
		/* TRANSLATORS: bytes of the migration so far */
		g_string_append_printf(line, _(", %s so far"), bytes);
	if (now->iteration > 0)
		g_string_append_printf(line, _(", pass %d"), now->iteration);
	if (now->dirty_rate > 0) {
		g_autofree char *dirty = unit_format_rate(now->dirty_rate);
		g_string_append_printf(line, _(", the VM changes %s"), dirty);
	}
	if (now->remaining > 0) {
		g_autofree char *remaining = unit_format_bytes(now->remaining);
		g_string_append_printf(line, _(", %s remain"), remaining);
	}
	if (now->left_ms >= 0) {
		g_autofree char *left = unit_format_duration_ms(now->left_ms);
		g_string_append_printf(line, _(", about %s left"), left);
	}
}

char *progress_format(const struct move_progress *now)
{
	GString *line = g_string_new(now->doing ? now->doing : "");
	if (now->disk_total > 0)
		add_disks(line, now);
	else if (now->bytes > 0)
		add_numbers(line, now);
	return g_string_free(line, FALSE);
}

static long terminal_width(void)
{
	struct winsize size;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	return 80;
}

/* A letter of Chinese or Japanese takes two columns. */
static void cut_to_width(char *text, long width)
{
	for (char *at = text; *at; at = g_utf8_next_char(at)) {
		gunichar letter = g_utf8_get_char(at);
		width -= g_unichar_iswide(letter) ? 2 : g_unichar_iszerowidth(letter) ? 0 : 1;
		if (width < 0) {
			*at = 0;
			return;
		}
	}
}

static void draw_progress(struct progress *progress, const struct move_progress *now)
{
	g_autofree char *line = progress_format(now);
	cut_to_width(line, terminal_width() - 1);
	plain_command("\r");
	fputs(line, stderr);
	plain_command("\033[K");
	progress->drawn = true;
}

static void print_plain(struct progress *progress, const struct move_progress *now)
{
	g_autofree char *line = progress_format(now);
	fprintf(stderr, "watari: %s\n", line);
}

void progress_show(const struct move_progress *now, void *data)
{
	struct progress *progress = data;
	bool fresh = progress->doing != now->doing;
	int64_t wait_ms = progress->terminal ? REDRAW_MS : PLAIN_MS;
	int64_t now_ms = clock_now_ms();
	if (progress->quiet || progress->asking || (!fresh && now_ms - progress->last_ms < wait_ms))
		return;
	progress->doing = now->doing;
	progress->last_ms = now_ms;
	if (progress->terminal)
		draw_progress(progress, now);
	else
		print_plain(progress, now);
}

void progress_clear(struct progress *progress)
{
	if (progress->drawn)
		plain_command("\r\033[K");
	progress->drawn = false;
}

/* Important notes stand in the closing report too, but are said when they happen. */
void progress_note(const char *text, bool important, void *data)
{
	struct progress *progress = data;
	if (progress->quiet || (!important && !progress->verbose && !progress->terminal))
		return;
	progress_clear(progress);
	fprintf(stderr, "watari: %s\n", text);
}
