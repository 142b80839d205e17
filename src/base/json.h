/* SPDX-License-Identifier: Apache-2.0 */
/* JSON from outside: capped in length and nesting before the library sees it. */
#pragma once
#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

#define JSON_LINE_MAX 65536 /* bytes of one message, newline not counted */
#define JSON_DEPTH_MAX 16

/* One object from LENGTH bytes of text. Unref the result with json_object_unref. */
JsonObject *json_parse_object(const char *text, size_t length, GError **error);
/* The same from a file, of MOST bytes at most. */
JsonObject *json_parse_large(const char *text, size_t length, size_t most, GError **error);
/* What was kept as text, such as a column of the journal; NULL for NULL and for what is no object. */
JsonObject *json_parse_kept(const char *text);
/* One line, no newline. Caller frees. */
char *json_print_object(JsonObject *object);

/* One that shares nothing with OBJECT, for another thread: the library's counts of references are for one. */
JsonObject *json_copy_object(JsonObject *object);

/* A string, or null where TEXT is NULL. */
void json_set_text(JsonObject *object, const char *name, const char *text);
/* {"class", "what", "next"}. */
JsonObject *json_describe_error(const GError *error);

/* Members by name; the fallback where absent or of another type. Strings stay owned by OBJECT. */
const char *json_get_string(JsonObject *object, const char *name, const char *fallback);
int64_t json_get_int(JsonObject *object, const char *name, int64_t fallback);
double json_get_double(JsonObject *object, const char *name,
		       double fallback); /* or a whole number */
bool json_get_bool(JsonObject *object, const char *name, bool fallback);
JsonObject *json_get_object(JsonObject *object, const char *name); /* NULL if absent */
JsonArray *json_get_array(JsonObject *object, const char *name);   /* NULL if absent */
/* Element INDEX; the fallback where there is none or it is no number. ARRAY may be NULL. */
double json_element_double(JsonArray *array, guint index, double fallback);
