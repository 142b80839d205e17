/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's configuration file format. See conf.h. */
#include "host/remote/conf.h"

#include <string.h>

struct conf {
	GHashTable *strings; /* name: string or number as written */
	GHashTable *lists;   /* name: char ** */
};

struct cursor {
	const char *at;
};

static void skip_line(struct cursor *cursor)
{
	cursor->at += strcspn(cursor->at, "\n");
}

/* Blanks and comments; inside a list also the ends of lines. */
static void skip_blank(struct cursor *cursor, bool lines)
{
	for (;;) {
		cursor->at += strspn(cursor->at, lines ? " \t\r\n" : " \t\r");
		if (*cursor->at != '#')
			return;
		skip_line(cursor);
	}
}

static char *take_until(struct cursor *cursor, const char *start, const char *end_mark, bool lines)
{
	const char *end = strstr(start, end_mark);
	if (!end || (!lines && memchr(start, '\n', (size_t) (end - start))))
		return NULL;
	cursor->at = end + strlen(end_mark);
	return g_strndup(start, (gsize) (end - start));
}

/* A string or a number; NULL when there is neither. */
static char *take_scalar(struct cursor *cursor)
{
	const char *at = cursor->at;
	if (g_str_has_prefix(at, "\"\"\""))
		return take_until(cursor, at + 3, "\"\"\"", true);
	if (*at == '"')
		return take_until(cursor, at + 1, "\"", false);
	if (*at == '\'')
		return take_until(cursor, at + 1, "'", false);
	size_t length = strspn(at, "+-0123456789");
	if (length == 0)
		return NULL;
	cursor->at += length;
	return g_strndup(at, length);
}

/* After the opening bracket. NULL when it is not a list of scalars up to a closing bracket. */
static char **take_list(struct cursor *cursor)
{
	g_autoptr(GPtrArray) values = g_ptr_array_new_with_free_func(g_free);
	for (;;) {
		skip_blank(cursor, true);
		if (*cursor->at == ',') {
			cursor->at++;
			continue;
		}
		if (*cursor->at == ']') {
			cursor->at++;
			g_ptr_array_add(values, NULL);
			return (char **) g_ptr_array_free(g_steal_pointer(&values), FALSE);
		}
		char *value = take_scalar(cursor);
		if (!value)
			return NULL;
		g_ptr_array_add(values, value);
	}
}

static void take_setting(struct conf *conf, struct cursor *cursor)
{
	size_t length = strspn(cursor->at, "abcdefghijklmnopqrstuvwxyz"
					   "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");
	g_autofree char *name = g_strndup(cursor->at, length);
	cursor->at += length;
	skip_blank(cursor, false);
	if (length == 0 || *cursor->at != '=')
		return;
	cursor->at++;
	skip_blank(cursor, false);
	if (*cursor->at == '[') {
		struct cursor list = { cursor->at + 1 };
		char **values = take_list(&list);
		if (values) {
			cursor->at = list.at;
			g_hash_table_replace(conf->lists, g_steal_pointer(&name), values);
		}
		return;
	}
	char *value = take_scalar(cursor);
	if (value)
		g_hash_table_replace(conf->strings, g_steal_pointer(&name), value);
}

struct conf *conf_parse(const char *text)
{
	struct conf *conf = g_new0(struct conf, 1);
	conf->strings = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	conf->lists =
		g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify) g_strfreev);
	struct cursor cursor = { text };
	while (*cursor.at) {
		skip_blank(&cursor, true);
		if (*cursor.at)
			take_setting(conf, &cursor);
		skip_line(&cursor);
	}
	return conf;
}

struct conf *conf_load(const char *path)
{
	g_autofree char *text = NULL;
	if (!g_file_get_contents(path, &text, NULL, NULL))
		return NULL;
	return conf_parse(text);
}

void conf_free(struct conf *conf)
{
	if (!conf)
		return;
	g_hash_table_unref(conf->strings);
	g_hash_table_unref(conf->lists);
	g_free(conf);
}

const char *conf_get_string(const struct conf *conf, const char *name)
{
	return g_hash_table_lookup(conf->strings, name);
}

const char *const *conf_get_list(const struct conf *conf, const char *name)
{
	return g_hash_table_lookup(conf->lists, name);
}

int64_t conf_get_int(const struct conf *conf, const char *name, int64_t fallback)
{
	const char *text = conf_get_string(conf, name);
	gint64 value = 0;
	if (!text || !g_ascii_string_to_signed(text, 10, G_MININT64, G_MAXINT64, &value, NULL))
		return fallback;
	return value;
}
