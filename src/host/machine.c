/* SPDX-License-Identifier: Apache-2.0 */
/* What tells one machine from another is asked of both. See machine.h. */
#include "host/machine.h"

#include <string.h>

enum { READ_MS = 15000, LINE_MAX_BYTES = 128 };

/* The second line means this system as it runs now, and no other: a boot, and in it a file system in
 * memory that no two machines, containers or chroots have in common. */
static const char identify_script[] =
	"cat /etc/machine-id 2>/dev/null || echo; "
	"echo \"$(cat /proc/sys/kernel/random/boot_id) $(stat -c %d:%i /run)\"";

static char *take_machine_line(char **lines, unsigned index)
{
	if (g_strv_length(lines) <= index || !*g_strstrip(lines[index]) ||
	    strlen(lines[index]) > LINE_MAX_BYTES)
		return NULL;
	return g_strdup(lines[index]);
}

void machine_read(const struct remote_shell *shell, struct host *host)
{
	static const char *const argv[] = { "sh", "-c", identify_script, NULL };
	g_autofree char *output = NULL;
	if (!remote_run(shell, host->address, argv, READ_MS, &output, NULL, NULL))
		return;
	g_auto(GStrv) lines = g_strsplit(output, "\n", 3);
	g_free(host->machine);
	g_free(host->instance);
	host->machine = take_machine_line(lines, 0);
	host->instance = take_machine_line(lines, 1);
}

static bool differ(const char *one, const char *other)
{
	return one && other && strcmp(one, other) != 0;
}

enum machine_relation machine_compare(const struct host *one, const struct host *other)
{
	if (g_strcmp0(one->uuid, other->uuid) != 0)
		return MACHINE_OTHER;
	if (one->instance && other->instance)
		return differ(one->instance, other->instance) ? MACHINE_TWINS : MACHINE_SAME;
	return differ(one->machine, other->machine) ? MACHINE_TWINS : MACHINE_SAME;
}
