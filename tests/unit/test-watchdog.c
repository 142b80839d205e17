/* SPDX-License-Identifier: Apache-2.0 */
/* The child that ends a mover which hangs: each test plays one in a process of its own. */
#include "base/clock.h"
#include "mover/core/watchdog.h"

#include <glib.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT_MS = 300, LONG_MS = 1500, GRACE_MOST_MS = 3000 };

static void stand_still(struct watchdog *watchdog)
{
	watchdog_set_limit(watchdog, LIMIT_MS);
	watchdog_note_stop(watchdog, clock_now_us());
}

static void hang(struct watchdog *watchdog)
{
	stand_still(watchdog);
	raise(SIGSTOP);
}

static void be_silent(struct watchdog *watchdog)
{
	watchdog_set_limit(watchdog, LONG_MS);
	watchdog_begin(watchdog, LIMIT_MS);
	raise(SIGSTOP);
}

/* What does not hang for long, or may. */

static void rest(struct watchdog *watchdog)
{
	stand_still(watchdog);
	watchdog_rest(watchdog);
	g_usleep(LONG_MS * 1000);
}

static void have_no_limit(struct watchdog *watchdog)
{
	watchdog_begin(watchdog, LIMIT_MS);
	watchdog_note_stop(watchdog, clock_now_us());
	g_usleep(LONG_MS * 1000);
}

static void beat(struct watchdog *watchdog)
{
	watchdog_set_limit(watchdog, LONG_MS);
	watchdog_begin(watchdog, LIMIT_MS);
	for (int i = 0; i < LONG_MS / 50; i++) {
		watchdog_beat(watchdog);
		g_usleep(50 * 1000);
	}
}

/* A limit that is lifted while the VM stands. */
static void be_given_time(struct watchdog *watchdog)
{
	stand_still(watchdog);
	watchdog_set_limit(watchdog, 60000);
	g_usleep(LONG_MS * 1000);
}

static const struct {
	const char *name;
	void (*play)(struct watchdog *watchdog);
	const char *last_words; /* on its stderr, when it is killed; NULL: it is not */
} plays[] = {
	{ "hangs", hang, "beyond the ceiling" },
	{ "silent", be_silent, "it did nothing" },
	{ "rests", rest, NULL },
	{ "no-limit", have_no_limit, NULL },
	{ "beats", beat, NULL },
	{ "given-time", be_given_time, NULL },
};

/* Until the mover and its child have ended. */
static char *read_all(int fd)
{
	GString *text = g_string_new(NULL);
	char bytes[512];
	ssize_t n;
	while ((n = read(fd, bytes, sizeof bytes)) > 0)
		g_string_append_len(text, bytes, n);
	close(fd);
	return g_string_free(text, FALSE);
}

static void test_play(gconstpointer data)
{
	size_t which = GPOINTER_TO_SIZE(data);
	int64_t began = clock_now_ms();
	int said[2];
	g_assert_cmpint(pipe(said), ==, 0);
	pid_t mover = fork();
	if (mover == 0) {
		char title[] = "mover";
		dup2(said[1], STDERR_FILENO);
		close(said[0]);
		close(said[1]);
		struct watchdog *watchdog = watchdog_new(title);
		if (!watchdog || strcmp(title, "mover") != 0)
			_exit(2);
		plays[which].play(watchdog);
		watchdog_free(watchdog);
		_exit(0);
	}
	int status = 0;
	close(said[1]);
	g_autofree char *words = read_all(said[0]);
	g_assert_cmpint(waitpid(mover, &status, 0), ==, mover);
	if (plays[which].last_words) {
		g_assert_nonnull(strstr(words, "the mover hung"));
		g_assert_nonnull(strstr(words, plays[which].last_words));
		g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		g_assert_cmpint(clock_now_ms() - began, <, LIMIT_MS + GRACE_MOST_MS);
	} else {
		g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		g_assert_cmpstr(words, ==, "");
	}
}

/* What the mover has open must end with it, though the child may live a moment longer. */
static void test_holds_nothing(void)
{
	int ends[2];
	char byte;
	g_assert_cmpint(pipe(ends), ==, 0);
	char title[] = "mover";
	struct watchdog *watchdog = watchdog_new(title);
	g_assert_nonnull(watchdog);
	close(ends[1]);
	alarm(10); /* a child that kept it would let us wait for ever */
	g_assert_cmpint(read(ends[0], &byte, 1), ==, 0);
	alarm(0);
	close(ends[0]);
	watchdog_free(watchdog);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(plays); i++) {
		g_autofree char *path = g_strdup_printf("/watchdog/%s", plays[i].name);
		g_test_add_data_func(path, GSIZE_TO_POINTER(i), test_play);
	}
	g_test_add_func("/watchdog/holds-nothing", test_holds_nothing);
	return g_test_run();
}
