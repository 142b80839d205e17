/* SPDX-License-Identifier: Apache-2.0 */
/* What is advised when a move fails in libvirt's own words: the right host, and nothing for ever. */
#include "conductor/live/qemu_errors.h"

#include <glib.h>
#include <string.h>

static void expect(const char *says, const char *part, bool here)
{
	g_autofree char *next = qemu_error_advise(says, "vm%s", "hosta", "hostb", false);
	if (!strstr(next, part) || !strstr(next, "hostb") ||
	    (strstr(next, "hosta") != NULL) != here)
		g_error("%s: “%s”, expected “%s”", says, next, part);
}

static void test_late(void)
{
	expect("Cannot access storage file '/h/x' (as uid:64055, gid:993): Permission denied",
	       "enter all directories", false);
	expect("internal error: QEMU: Failed to find an available port: Address already in use",
	       "Free that port", false);
	expect("vnc listen failed: Cannot assign requested address", "such as 0.0.0.0", false);
	expect("cannot set up guest memory 'pc.ram': Cannot allocate memory", "Make room", false);
	expect("Cannot open log file: '/n/x': No such file or directory", "Make what is named",
	       false);
	expect("Cannot get interface MTU on 'br7': No such device", "Set up what is named", false);
	expect("operation failed: job 'migration out' failed", "/qemu/vm%s.log at hostb", true);
	expect("", "hosta", true);
	g_autofree char *disks = qemu_error_advise(NULL, "vm", "hosta", "hostb", true);
	g_assert_nonnull(strstr(disks, "hosta, from whose images"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/late/advice", test_late);
	return g_test_run();
}
