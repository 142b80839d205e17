/* SPDX-License-Identifier: Apache-2.0 */
/* Values back into the words that give them. */
#include "cli/options.h"

#include <inttypes.h>
#include <string.h>

static char *write_flag(const struct option_row *row, const void *value)
{
	return g_strdup("");
}

static char *write_text(const struct option_row *row, const void *value)
{
	const char *text;
	memcpy(&text, value, sizeof(text));
	return g_strdup_printf("=%s", text);
}

static char *write_bytes(const struct option_row *row, const void *value)
{
	return g_strdup_printf("=%" PRIu64, *(const uint64_t *) value);
}

static char *write_duration(const struct option_row *row, const void *value)
{
	return g_strdup_printf("=%" PRId64 "ms", *(const int64_t *) value);
}

static char *write_number(const struct option_row *row, const void *value)
{
	return g_strdup_printf("=%d", *(const int *) value);
}

static char *write_ports(const struct option_row *row, const void *value)
{
	const uint16_t *ports = value;
	return g_strdup_printf("=%d-%d", ports[0], ports[1]);
}

static char *write_word(const struct option_row *row, const void *value)
{
	return g_strdup_printf("=%s", row->words[*(const int *) value]);
}

static char *(*const writers[])(const struct option_row *row, const void *value) = {
	[OPTION_FLAG] = write_flag,     [OPTION_TEXT] = write_text,
	[OPTION_BYTES] = write_bytes,   [OPTION_DURATION] = write_duration,
	[OPTION_NUMBER] = write_number, [OPTION_PORTS] = write_ports,
	[OPTION_WORD] = write_word,     [OPTION_LIST] = write_text,
};
_Static_assert(G_N_ELEMENTS(writers) == OPTION_KIND_LAST, "every kind has a writer");

static const size_t sizes[] = {
	[OPTION_FLAG] = sizeof(bool),      [OPTION_TEXT] = sizeof(const char *),
	[OPTION_BYTES] = sizeof(uint64_t), [OPTION_DURATION] = sizeof(int64_t),
	[OPTION_NUMBER] = sizeof(int),     [OPTION_PORTS] = 2 * sizeof(uint16_t),
	[OPTION_WORD] = sizeof(int),       [OPTION_LIST] = sizeof(const char *),
};
_Static_assert(G_N_ELEMENTS(sizes) == OPTION_KIND_LAST, "every kind has a size");

static void add_word(GPtrArray *words, const struct option_row *row, const void *value)
{
	g_autofree char *text = writers[row->kind](row, value);
	g_ptr_array_add(words, g_strdup_printf("--%s%s", row->name, text));
}

char **options_words(const struct command *command, const void *values, const void *defaults,
		     unsigned other)
{
	GPtrArray *words = g_ptr_array_new();
	const struct option_row *row;
	for (size_t i = 0; (row = options_next(command, &i));) {
		const char *value = (const char *) values + row->offset;
		const char *usual = (const char *) defaults + row->offset;
		if (row->only && !(row->only & other))
			continue;
		if (row->kind == OPTION_LIST)
			for (const char *const *one = (const char *const *) (const void *) value;
			     *one; one++)
				add_word(words, row, one);
		else if (memcmp(value, usual, sizes[row->kind]) != 0)
			add_word(words, row, value);
	}
	g_ptr_array_add(words, NULL);
	return (char **) g_ptr_array_free(words, FALSE);
}
