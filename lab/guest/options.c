/* SPDX-License-Identifier: Apache-2.0 */
/* Settings: words of the kernel command line at boot, query strings later. Both are KEY=VALUE
 * lists, one parser reads both. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guestd.h"

#define PREFIX "watari."

static char options_line[2048];

void options_read(void)
{
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return;
	n = read(fd, options_line, sizeof(options_line) - 1);
	close(fd);
	options_line[n > 0 ? n : 0] = '\0';
	options_line[strcspn(options_line, "\n")] = '\0';
}

/* Finds KEY= at the start of a word; words are parted by separator. Returns the value and its
 * length, or NULL. */
static const char *pair_find(const char *list, char separator, const char *prefix, const char *key,
			     size_t *len)
{
	size_t prefix_len = strlen(prefix);
	size_t key_len = strlen(key);
	const char *word = list;

	while (word && *word) {
		const char *end = strchr(word, separator);
		size_t word_len = end ? (size_t) (end - word) : strlen(word);

		if (word_len > prefix_len + key_len && !strncmp(word, prefix, prefix_len) &&
		    !strncmp(word + prefix_len, key, key_len) &&
		    word[prefix_len + key_len] == '=') {
			*len = word_len - prefix_len - key_len - 1;
			return word + prefix_len + key_len + 1;
		}
		word = end ? end + 1 : NULL;
	}
	return NULL;
}

static bool pair_copy(const char *from, size_t len, char *value, size_t size)
{
	if (!from)
		return false;
	if (len >= size)
		len = size - 1;
	memcpy(value, from, len);
	value[len] = '\0';
	return true;
}

const char *option_text(const char *key, const char *fallback)
{
	size_t len = 0;
	const char *from = pair_find(options_line, ' ', PREFIX, key, &len);
	char *value = from ? strndup(from, len) : NULL;

	return value ? value : fallback; /* read at boot only, so the copies are few and stay */
}

uint64_t option_number(const char *key, uint64_t fallback)
{
	const char *value = option_text(key, NULL);

	return value ? strtoull(value, NULL, 0) : fallback;
}

bool query_text(const char *query, const char *key, char *value, size_t size)
{
	size_t len = 0;
	const char *from = query ? pair_find(query, '&', "", key, &len) : NULL;

	return pair_copy(from, len, value, size);
}

uint64_t query_number(const char *query, const char *key, uint64_t fallback)
{
	char value[32];

	return query_text(query, key, value, sizeof(value)) ? strtoull(value, NULL, 0) : fallback;
}
