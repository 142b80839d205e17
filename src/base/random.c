/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's random bytes as hex digits. */
#include "base/random.h"

#include "base/error.h"
#include "base/hex.h"
#include "base/i18n.h"

#include <string.h>
#include <sys/random.h>

bool random_hex(char *text, size_t digits, GError **error)
{
	unsigned char bytes[RANDOM_HEX_MOST / 2];
	size_t count = digits / 2;
	g_assert(count <= sizeof bytes);
	if (getrandom(bytes, count, 0) != (ssize_t) count)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("the kernel gives no random numbers"));
	hex_print(bytes, count, text);
	explicit_bzero(bytes, sizeof bytes);
	return true;
}
