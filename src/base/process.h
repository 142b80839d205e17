/* SPDX-License-Identifier: Apache-2.0 */
/* Which process a number means. The kernel gives numbers again, so a number alone names nobody. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* When process PID was started, in the kernel's ticks since the boot; 0: there is none. */
int64_t process_start_ticks(int pid);
/* It lives, is no zombie, and is the one that was started at START_TICKS (0: not known, so the number
 * decides). */
bool process_lives(int pid, int64_t start_ticks);
/* The kernel's id of this boot of the machine, or NULL. Caller frees. */
char *process_boot_id(void);
