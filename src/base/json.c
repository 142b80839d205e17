/* SPDX-License-Identifier: Apache-2.0 */
/* JSON read within bounds, and printed on one line. */
#include "base/json.h"

#include "base/error.h"
#include "base/i18n.h"

#include <math.h>

/* json-glib parses recursively, so the nesting is bounded before it starts. */
static bool depth_ok(const char *text, size_t length)
{
	int depth = 0;
	bool quoted = false;
	for (size_t i = 0; i < length; i++) {
		char c = text[i];
		if (quoted) {
			if (c == '\\')
				i++;
			else if (c == '"')
				quoted = false;
		} else if (c == '"') {
			quoted = true;
		} else if (c == '{' || c == '[') {
			if (++depth > JSON_DEPTH_MAX)
				return false;
		} else if (c == '}' || c == ']') {
			depth--;
		}
	}
	return true;
}

JsonObject *json_parse_object(const char *text, size_t length, GError **error)
{
	return json_parse_large(text, length, JSON_LINE_MAX, error);
}

JsonObject *json_parse_large(const char *text, size_t length, size_t most, GError **error)
{
	if (length > most || !depth_ok(text, length) || memchr(text, 0, length) ||
	    !g_utf8_validate(text, (gssize) length, NULL)) {
		error_set(error, WATARI_ERROR_INTERNAL, NULL,
			  _("a message that is too long, too deep or not text"));
		return NULL;
	}
	g_autoptr(JsonParser) parser = json_parser_new_immutable();
	if (!json_parser_load_from_data(parser, text, (gssize) length, error))
		return NULL;
	JsonNode *root = json_parser_get_root(parser);
	if (!root || !JSON_NODE_HOLDS_OBJECT(root)) {
		error_set(error, WATARI_ERROR_INTERNAL, NULL,
			  _("a message that is not a JSON object"));
		return NULL;
	}
	return json_object_ref(json_node_get_object(root));
}

JsonObject *json_parse_kept(const char *text)
{
	return text ? json_parse_object(text, strlen(text), NULL) : NULL;
}

char *json_print_object(JsonObject *object)
{
	g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
	json_node_set_object(node, object);
	return json_to_string(node, FALSE);
}

JsonObject *json_copy_object(JsonObject *object)
{
	g_autofree char *text = json_print_object(object);
	g_autoptr(JsonParser) parser = json_parser_new();
	if (!json_parser_load_from_data(parser, text, -1, NULL))
		return json_object_new();
	return json_object_ref(json_node_get_object(json_parser_get_root(parser)));
}

static JsonNode *value_of(JsonObject *object, const char *name, GType type)
{
	JsonNode *node = json_object_get_member(object, name);
	if (!node || !JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != type)
		return NULL;
	return node;
}

const char *json_get_string(JsonObject *object, const char *name, const char *fallback)
{
	JsonNode *node = value_of(object, name, G_TYPE_STRING);
	return node ? json_node_get_string(node) : fallback;
}

int64_t json_get_int(JsonObject *object, const char *name, int64_t fallback)
{
	JsonNode *node = value_of(object, name, G_TYPE_INT64);
	return node ? json_node_get_int(node) : fallback;
}

static double node_double(JsonNode *node, double fallback)
{
	if (!node || !JSON_NODE_HOLDS_VALUE(node))
		return fallback;
	GType type = json_node_get_value_type(node);
	bool good = type == G_TYPE_INT64 || type == G_TYPE_DOUBLE;
	double value = good ? json_node_get_double(node) : fallback;
	return isfinite(value) ? value : fallback; /* 1e999 is read as infinity */
}

double json_get_double(JsonObject *object, const char *name, double fallback)
{
	return node_double(object ? json_object_get_member(object, name) : NULL, fallback);
}

double json_element_double(JsonArray *array, guint index, double fallback)
{
	if (!array || index >= json_array_get_length(array))
		return fallback;
	return node_double(json_array_get_element(array, index), fallback);
}

bool json_get_bool(JsonObject *object, const char *name, bool fallback)
{
	JsonNode *node = value_of(object, name, G_TYPE_BOOLEAN);
	return node ? json_node_get_boolean(node) : fallback;
}

JsonObject *json_get_object(JsonObject *object, const char *name)
{
	JsonNode *node = json_object_get_member(object, name);
	return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

JsonArray *json_get_array(JsonObject *object, const char *name)
{
	JsonNode *node = json_object_get_member(object, name);
	return node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
}

void json_set_text(JsonObject *object, const char *name, const char *text)
{
	if (text)
		json_object_set_string_member(object, name, text);
	else
		json_object_set_null_member(object, name);
}

JsonObject *json_describe_error(const GError *error)
{
	JsonObject *object = json_object_new();
	g_autofree char *what = error_what(error), *next = error_next(error);
	json_set_text(object, "class", error_class_name(error));
	json_set_text(object, "what", what);
	json_set_text(object, "next", next);
	return object;
}
