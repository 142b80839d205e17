/* SPDX-License-Identifier: Apache-2.0 */
/* Hex digits printed and read. */
#include "base/hex.h"

#include <glib.h>
#include <string.h>

void hex_print(const uint8_t *bytes, size_t length, char *text)
{
	for (size_t i = 0; i < length; i++)
		g_snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

bool hex_parse(const char *text, uint8_t *bytes, size_t length)
{
	if (!text || strlen(text) != 2 * length)
		return false;
	for (size_t i = 0; i < length; i++) {
		int high = g_ascii_xdigit_value(text[2 * i]);
		int low = g_ascii_xdigit_value(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		bytes[i] = (uint8_t) (high << 4 | low);
	}
	return true;
}
