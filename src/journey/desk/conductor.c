/* SPDX-License-Identifier: Apache-2.0 */
#include "journey/desk/conductor.h"

bool conductor_lives(const struct journal_move *move)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/comm", (int) move->pid);
	g_autofree char *name = NULL;
	if (move->outcome || !g_file_get_contents(path, &name, NULL, NULL))
		return false;
	return g_str_has_prefix(name, "watari");
}
