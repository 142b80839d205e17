/* SPDX-License-Identifier: Apache-2.0 */
/* A question on the terminal, and its answer. See confirm.h. */
#include "cli/confirm.h"

#include "base/i18n.h"
#include "cli/progress.h"

#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ANSWER_MAX = 80 };

struct asking {
	bool over;
	char answer[ANSWER_MAX];
};

/* The terminal gives whole lines. */
static gboolean got_answer(gint fd, GIOCondition condition, gpointer data)
{
	struct asking *asking = data;
	ssize_t n = read(fd, asking->answer, sizeof asking->answer - 1);
	asking->answer[MAX(n, 0)] = 0;
	asking->over = true;
	return G_SOURCE_CONTINUE;
}

static gboolean got_interrupt(gpointer data)
{
	struct asking *asking = data;
	asking->over = true;
	return G_SOURCE_CONTINUE;
}

static bool is_yes(char *answer)
{
	/* TRANSLATORS: the answers that mean yes, between colons and in small letters */
	const char *words = _(":y:yes:");
	if (!g_utf8_validate(answer, -1, NULL))
		return false;
	g_autofree char *small = g_utf8_strdown(g_strstrip(answer), -1);
	g_autofree char *word = g_strdup_printf(":%s:", small);
	return *small && (strstr(words, word) || strstr(":y:yes:", word));
}

bool confirm_ask(const char *question, void *data)
{
	struct progress *progress = data;
	struct asking asking = { 0 };
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return false;
	progress_clear(progress);
	/* TRANSLATORS: after a question */
	fprintf(stderr, _("%s [y/N] "), question);
	fflush(stderr);
	progress->asking = true;
	guint sources[] = { g_unix_fd_add(STDIN_FILENO, G_IO_IN | G_IO_HUP | G_IO_ERR, got_answer,
					  &asking),
			    g_unix_signal_add(SIGINT, got_interrupt, &asking),
			    g_unix_signal_add(SIGTERM, got_interrupt, &asking) };
	while (!asking.over)
		g_main_context_iteration(NULL, TRUE);
	for (size_t i = 0; i < G_N_ELEMENTS(sources); i++)
		g_source_remove(sources[i]);
	progress->asking = false;
	if (!*asking.answer)
		fputc('\n', stderr);
	return is_yes(asking.answer);
}
