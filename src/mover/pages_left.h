/* SPDX-License-Identifier: Apache-2.0 */
/* Where in a guest's memory so many pages that hold something are still to come. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Read the memory of process PID that lies in one mapping of LENGTH bytes from its end, until WANTED pages that
 * are not zero have been found (pages that are not there are not read): *offset is where, *found how many,
 * fewer if there are no more. LENGTH 0: in the largest mapping. False: it cannot be read. */
bool pages_left_find(int pid, uint64_t length, uint64_t wanted, uint64_t *offset, uint64_t *found,
		     GError **error);
