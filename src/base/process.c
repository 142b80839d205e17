/* SPDX-License-Identifier: Apache-2.0 */
/* Processes told apart by number and start, as /proc says. */
#include "base/process.h"

#include <glib.h>
#include <string.h>

/* Behind the name, which may hold anything, in proc(5)'s numbers: 3 is the state, 22 the start. */
static bool read_process(int pid, char *state, int64_t *start_ticks)
{
	enum { STATE = 0, START = 19, COUNT = 20 };
	g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid);
	g_autofree char *text = NULL;
	if (pid <= 0 || !g_file_get_contents(path, &text, NULL, NULL))
		return false;
	const char *name_end = strrchr(text, ')');
	if (!name_end || name_end[1] != ' ')
		return false;
	g_auto(GStrv) fields = g_strsplit(name_end + 2, " ", COUNT + 1);
	if (g_strv_length(fields) < COUNT)
		return false;
	*state = *fields[STATE];
	*start_ticks = g_ascii_strtoll(fields[START], NULL, 10);
	return true;
}

int64_t process_start_ticks(int pid)
{
	char state = 0;
	int64_t start_ticks = 0;
	return read_process(pid, &state, &start_ticks) ? start_ticks : 0;
}

bool process_lives(int pid, int64_t start_ticks)
{
	char state = 0;
	int64_t now_ticks = 0;
	return read_process(pid, &state, &now_ticks) && state != 'Z' && state != 'X' &&
	       (start_ticks == 0 || now_ticks == start_ticks);
}

char *process_boot_id(void)
{
	char *text = NULL;
	if (g_file_get_contents("/proc/sys/kernel/random/boot_id", &text, NULL, NULL))
		g_strstrip(text);
	return text;
}
