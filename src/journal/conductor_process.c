/* SPDX-License-Identifier: Apache-2.0 */
/* A process is told by its number, its start and the boot of the machine: numbers come again. */
#include "journal/conductor_process.h"

#include "base/process.h"

#include <string.h>
#include <unistd.h>

void conductor_describe(JsonObject *options)
{
	JsonObject *conductor = json_object_new();
	g_autofree char *boot = process_boot_id();
	json_object_set_int_member(conductor, "start_ticks", process_start_ticks(getpid()));
	json_set_text(conductor, "boot", boot);
	json_object_set_object_member(options, "conductor", conductor);
}

/* What earlier versions wrote has the number alone. */
static bool has_our_name(int pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/comm", pid);
	g_autofree char *name = NULL;
	return g_file_get_contents(path, &name, NULL, NULL) && g_str_has_prefix(name, "watari");
}

bool conductor_lives(const struct journal_move *move)
{
	g_autoptr(JsonObject) options = json_parse_kept(move->options);
	JsonObject *conductor = options ? json_get_object(options, "conductor") : NULL;
	int64_t start_ticks = conductor ? json_get_int(conductor, "start_ticks", 0) : 0;
	const char *boot = conductor ? json_get_string(conductor, "boot", NULL) : NULL;
	g_autofree char *now = process_boot_id();
	if (move->outcome || (boot && now && strcmp(boot, now) != 0))
		return false;
	if (start_ticks > 0)
		return process_lives((int) move->pid, start_ticks);
	return process_lives((int) move->pid, 0) && has_our_name((int) move->pid);
}
