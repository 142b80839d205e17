/* SPDX-License-Identifier: Apache-2.0 */
/* Files of movers' states: who is ended, and who is not. */
#include "mover/state_file.h"

#include "base/fd.h"
#include "base/process.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static const char id[] = "00112233445566778899aabbccddeeff";

static char *directory;

/* One that only waits. */
static pid_t start(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	g_assert_cmpint(pid, >, 0);
	return pid;
}

static bool lives(pid_t pid)
{
	return waitpid(pid, NULL, WNOHANG) == 0;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static char *write_state(pid_t pid, int64_t born, const char *phase)
{
	g_autofree char *name = g_strdup_printf("%s-source.json", id);
	g_autofree char *text =
		g_strdup_printf("{\"id\": \"%s\", \"pid\": %d, \"born\": %" G_GINT64_FORMAT
				", \"phase\": \"%s\", \"socket_dir\": \"/nowhere\"}",
				id, (int) pid, born, phase);
	char *path = g_build_filename(directory, name, NULL);
	g_mkdir_with_parents(directory, 0700);
	g_assert_true(g_file_set_contents(path, text, -1, NULL));
	return path;
}

/* What it prints is for a conductor, and no TAP. */
static void sweep_quietly(const char *whose)
{
	fflush(stdout);
	FD_AUTO int kept = dup(STDOUT_FILENO);
	FD_AUTO int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	dup2(null, STDOUT_FILENO);
	g_assert_cmpint(state_file_sweep(whose, STATE_END), ==, 0);
	fflush(stdout);
	dup2(kept, STDOUT_FILENO);
}

/* Sweeps it; is the file still there? */
static bool sweep(pid_t pid, int64_t born, const char *phase, const char *whose)
{
	g_autofree char *path = write_state(pid, born, phase);
	sweep_quietly(whose);
	bool there = g_file_test(path, G_FILE_TEST_EXISTS);
	g_unlink(path);
	return there;
}

/* The number of a mover that is gone was given to another process: that one is nobody's to end. */
static void test_recycled(void)
{
	pid_t other = start();
	int64_t born = process_start_ticks(other);
	g_assert_cmpint(born, >, 0);
	g_assert_false(sweep(other, born - 1, "moving", id));
	g_assert_true(lives(other));
	g_assert_false(sweep(other, 0, "moving", id));
	g_assert_true(lives(other));
	end(other);
}

static void test_living(void)
{
	pid_t mover = start();
	int64_t born = process_start_ticks(mover);
	/* asked about all, only what is dead goes; by its move, it is ended, unless it still carries pages */
	g_assert_true(sweep(mover, born, "moving", NULL));
	g_assert_true(sweep(mover, born, "postcopy", id));
	g_assert_true(sweep(mover, born, "moving", "ffeeddccbbaa99887766554433221100"));
	g_assert_true(lives(mover));
	g_assert_false(sweep(mover, born, "moving", id));
	g_assert_false(lives(mover));
}

static void test_dead(void)
{
	pid_t mover = start();
	int64_t born = process_start_ticks(mover);
	end(mover);
	g_assert_false(sweep(mover, born, "postcopy", NULL));
}

static void test_nonsense(void)
{
	static const char *const texts[] = { "", "[]", "{", "{\"pid\": \"x\"}",
					     "{\"pid\": -1, \"born\": 1}" };
	g_autofree char *path = g_build_filename(directory, "x.json", NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
		g_mkdir_with_parents(directory, 0700);
		g_assert_true(g_file_set_contents(path, texts[i], -1, NULL));
		sweep_quietly(NULL);
	}
	g_unlink(path);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_autofree char *above = g_dir_make_tmp("watari-state-XXXXXX", NULL);
	directory = g_build_filename(above, "run", NULL);
	g_setenv("WATARI_RUN_DIR", directory, TRUE);
	g_test_add_func("/state/recycled", test_recycled);
	g_test_add_func("/state/living", test_living);
	g_test_add_func("/state/dead", test_dead);
	g_test_add_func("/state/nonsense", test_nonsense);
	int status = g_test_run();
	g_rmdir(directory);
	g_rmdir(above);
	g_free(directory);
	return status;
}
