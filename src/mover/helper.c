/* SPDX-License-Identifier: Apache-2.0 */
/* Gives up rights, and becomes one of QEMU's tools. */
#include "mover/helper.h"

#include "base/error.h"
#include "nbd/reader.h"
#include "mover/core/rights.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

int helper_run(const char *user, const char *tie, char **argv)
{
	int64_t number = g_ascii_strtoll(user, NULL, 10);
	pid_t parent = getppid();
	if (!rights_become(number)) {
		fprintf(stderr, "%s\n", g_strerror(errno));
		return WATARI_EXIT_FAILED;
	}
	/* after the change of user, which takes it back */
	if (g_str_equal(tie, "tied") &&
	    (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent))
		return WATARI_EXIT_FAILED;
	rights_confine(true); /* where there is a filter already it stays that */
	execvp(argv[0], argv);
	fprintf(stderr, "%s: %s\n", argv[0], g_strerror(errno));
	return WATARI_EXIT_FAILED;
}

static char **starter_new(int user)
{
	g_autofree char *number = g_strdup_printf("%d", user);
	const char *const words[] = { "/proc/self/exe", "mover", "--helper", number, "free", NULL };
	return g_strdupv((char **) (uintptr_t) words);
}

void helper_for_readers(int user)
{
	static char **starters[3];
	unsigned count = 0;
	if (starters[0])
		return;
	if (user > 0)
		starters[count++] = starter_new(user);
	starters[count] = starter_new(-1);
	disk_reader_start_by(starters);
}
