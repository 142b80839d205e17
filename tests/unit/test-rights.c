/* SPDX-License-Identifier: Apache-2.0 */
/* What a mover may still do: each test in a process of its own. */
#include "mover/core/rights.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t status_number(const char *name, int base)
{
	g_autofree char *text = NULL;
	g_assert_true(g_file_get_contents("/proc/thread-self/status", &text, NULL, NULL));
	const char *at = strstr(text, name);
	g_assert_nonnull(at);
	return g_ascii_strtoull(at + strlen(name), NULL, base);
}

/* getpgid needs no right at all, and no mover calls it. */
static bool is_confined(void)
{
	errno = 0;
	return syscall(SYS_getpgid, 0) < 0 && errno == EPERM && status_number("Seccomp:", 10) == 2;
}

/* Which kinds of memory a core would have. */
static uint64_t cores_hold(void)
{
	g_autofree char *text = NULL;
	g_assert_true(g_file_get_contents("/proc/self/coredump_filter", &text, NULL, NULL));
	return g_ascii_strtoull(text, NULL, 16);
}

/* What a helper is: nobody's but its user's, or root's with next to nothing. */
static void play_become(void)
{
	if (geteuid() != 0) {
		g_assert_false(rights_become(1));
		return;
	}
	rights_drop();
	g_assert_true(rights_confine(true)); /* by a mover that runs already */
	g_assert_false(rights_become(99999));
	g_assert_true(rights_become(1)); /* daemon */
	g_assert_cmpuint(getuid(), ==, 1);
	g_assert_cmpuint(getegid(), !=, 0);
	g_assert_cmphex(status_number("CapPrm:", 16), ==, 0);
	g_assert_cmpint(setresuid(0, 0, 0), ==, -1);
	g_assert_cmpuint(cores_hold(), ==, 0);
	g_assert_cmpint(chdir("/"), ==, 0); /* as qemu-nbd does */
}

static void play_become_root(void)
{
	rights_drop();
	g_assert_true(rights_become(-1));
	if (geteuid() == 0)
		g_assert_cmphex(status_number("CapPrm:", 16), ==, 1 << 1); /* CAP_DAC_OVERRIDE */
	g_assert_true(rights_confine(true));
	g_assert_true(is_confined());
}

static void play_drop(void)
{
	struct rlimit core;
	rights_drop();
	if (geteuid() == 0) {
		g_assert_cmphex(status_number("CapEff:", 16), ==, rights_kept);
		g_assert_cmphex(status_number("CapPrm:", 16), ==, rights_kept);
		g_assert_cmphex(status_number("CapBnd:", 16), ==, rights_kept);
	}
	g_assert_cmpuint(status_number("NoNewPrivs:", 10), ==, 1);
	g_assert_cmpint(prctl(PR_GET_DUMPABLE), ==, 0);
	g_assert_cmpint(getrlimit(RLIMIT_CORE, &core), ==, 0);
	g_assert_cmpuint(core.rlim_max, ==, 0);
	g_assert_cmpuint(cores_hold(), ==, 0);
}

static void play_drop_all(void)
{
	rights_drop_all();
	if (geteuid() == 0)
		g_assert_cmphex(status_number("CapPrm:", 16), ==, 0);
	g_assert_cmpint(prctl(PR_GET_DUMPABLE), ==, 0);
}

static void *wait_and_look(void *data)
{
	pthread_barrier_t *barrier = data;
	pthread_barrier_wait(barrier); /* it runs */
	pthread_barrier_wait(barrier); /* the filter is there */
	return GINT_TO_POINTER(is_confined());
}

static void play_confine(void)
{
	static char *const nothing[] = { NULL };
	pthread_barrier_t barrier;
	pthread_t thread;
	void *confined = NULL;
	rights_drop();
	pthread_barrier_init(&barrier, NULL, 2);
	g_assert_cmpint(pthread_create(&thread, NULL, wait_and_look, &barrier), ==, 0);
	pthread_barrier_wait(&barrier);
	g_assert_cmpint(syscall(SYS_getpgid, 0), >=, 0);
	g_assert_true(rights_confine(false));
	pthread_barrier_wait(&barrier);
	pthread_join(thread, &confined);
	g_assert_true(confined != NULL);
	g_assert_true(is_confined());
	g_assert_cmpint(execve("/bin/true", nothing, nothing), ==, -1);
	g_assert_cmpint(errno, ==, EPERM);
	/* what goes on working: memory, files, threads */
	g_autofree char *text = NULL;
	g_assert_true(g_file_get_contents("/proc/self/stat", &text, NULL, NULL));
	pthread_barrier_destroy(&barrier);
}

static void play_execute(void)
{
	static char name[] = "true";
	static char *const words[] = { name, NULL }, *const nothing[] = { NULL };
	rights_drop();
	g_assert_true(rights_confine(true));
	g_assert_true(is_confined());
	pid_t child = fork();
	if (child == 0) {
		execve("/bin/true", words, nothing);
		_exit(9);
	}
	int status = 0;
	g_assert_cmpint(waitpid(child, &status, 0), ==, child);
	g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static const struct {
	const char *name;
	void (*play)(void);
} plays[] = {
	{ "drop", play_drop },       { "drop-all", play_drop_all },
	{ "confine", play_confine }, { "execute", play_execute },
	{ "become", play_become },   { "become-root", play_become_root },
};

static void test_play(gconstpointer data)
{
	int status = 0;
	pid_t child = fork();
	if (child == 0) {
		plays[GPOINTER_TO_SIZE(data)].play();
		_exit(0);
	}
	g_assert_cmpint(waitpid(child, &status, 0), ==, child);
	g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(plays); i++) {
		g_autofree char *path = g_strdup_printf("/rights/%s", plays[i].name);
		g_test_add_data_func(path, GSIZE_TO_POINTER(i), test_play);
	}
	return g_test_run();
}
