/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes of the kernel as hex digits: keys, names that nobody else has. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

enum { RANDOM_HEX_MOST = 64 };

/* DIGITS of them, an even number up to RANDOM_HEX_MOST, and the end of the string behind. Only a kernel that gives none
 * makes it fail: WATARI_ERROR_INTERNAL. */
bool random_hex(char *text, size_t digits, GError **error);
