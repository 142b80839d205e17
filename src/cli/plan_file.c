/* SPDX-License-Identifier: Apache-2.0 */
/* Writes and reads a plan's file. */
#include "cli/plan_file.h"

#include "base/fd.h"
#include "base/i18n.h"
#include "base/json.h"
#include "base/version.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

enum { FORMAT = 1, SIZE_MOST = 4 << 20, WORDS_MOST = 256, READ_BYTES = 65536 };

static char *describe_plan(const struct move_request *request, char **words,
			   const struct move_report *report)
{
	g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
	JsonObject *plan = json_object_new();
	JsonArray *list = json_array_new();
	for (char **word = words; *word; word++)
		json_array_add_string_element(list, *word);
	json_object_set_int_member(plan, "format", FORMAT);
	json_set_text(plan, "watari", watari_version);
	json_object_set_int_member(plan, "created", time(NULL));
	json_set_text(plan, "vm", request->vm);
	json_set_text(plan, "destination", request->destination);
	json_object_set_array_member(plan, "words", list);
	json_object_set_object_member(plan, "world", json_object_ref(report->preconditions));
	json_object_set_object_member(plan, "forecast", json_object_ref(report->forecast));
	json_node_take_object(node, plan);
	return json_to_string(node, TRUE);
}

bool plan_file_write(const char *path, const struct move_request *request, char **words,
		     const struct move_report *report, GError **error)
{
	g_autofree char *text = describe_plan(request, words, report);
	GError *failure = NULL;
	if (g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600,
				     &failure))
		return true;
	error_set(error, WATARI_ERROR_REFUSED, _("Name another place with --output."),
		  _("the plan cannot be written to %s: %s"), path, failure->message);
	g_error_free(failure);
	return false;
}

/* ---- reading ---- */

/* It may be a pipe, or no file that ends: no more is read than a plan can have. */
static GString *read_bounded(const char *path, GError **error)
{
	g_autoptr(GString) text = g_string_new(NULL);
	FD_AUTO int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : 1;
	while (got > 0 && text->len <= SIZE_MOST) {
		gsize length = text->len;
		g_string_set_size(text, length + READ_BYTES);
		do
			got = read(fd, text->str + length, READ_BYTES);
		while (got < 0 && errno == EINTR);
		g_string_set_size(text, length + (gsize) MAX(got, 0));
	}
	if (got < 0)
		error_set(error, WATARI_ERROR_USAGE, NULL, "%s", g_strerror(errno));
	else if (text->len > SIZE_MOST)
		error_set(error, WATARI_ERROR_USAGE, NULL, _("it is too large for a plan"));
	else
		return g_steal_pointer(&text);
	return NULL;
}

static bool is_words(JsonArray *words)
{
	if (!words || json_array_get_length(words) > WORDS_MOST)
		return false;
	for (guint i = 0; i < json_array_get_length(words); i++) {
		JsonNode *node = json_array_get_element(words, i);
		const char *word = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_string(node) : NULL;
		/* an option each: nothing else may come in by a file */
		if (!word || !g_str_has_prefix(word, "--") || !word[2])
			return false;
	}
	return true;
}

static bool check_plan(JsonObject *plan, GError **error)
{
	if (json_get_int(plan, "format", 0) != FORMAT)
		return error_set(error, WATARI_ERROR_USAGE, NULL,
				 _("it has a format that this program does not know"));
	const char *vm = json_get_string(plan, "vm", NULL);
	const char *destination = json_get_string(plan, "destination", NULL);
	if (vm && *vm && *vm != '-' && destination && *destination && *destination != '-' &&
	    is_words(json_get_array(plan, "words")) && json_get_object(plan, "world") &&
	    json_get_object(plan, "forecast"))
		return true;
	return error_set(error, WATARI_ERROR_USAGE, NULL, _("something is missing in it"));
}

JsonObject *plan_file_parse(const char *text, size_t length, GError **error)
{
	JsonObject *plan = json_parse_large(text, length, SIZE_MOST, NULL);
	if (!plan)
		error_set(error, WATARI_ERROR_USAGE, NULL, _("it holds no plan"));
	else if (!check_plan(plan, error))
		g_clear_pointer(&plan, json_object_unref);
	return plan;
}

JsonObject *plan_file_read(const char *path, GError **error)
{
	GError *failure = NULL;
	g_autoptr(GString) text = read_bounded(path, &failure);
	JsonObject *plan = text ? plan_file_parse(text->str, text->len, &failure) : NULL;
	if (plan)
		return plan;
	error_set(error, WATARI_ERROR_USAGE, _("Make one: watari plan --output FILE VM DEST."),
		  _("the plan %s cannot be used: %s"), path, failure->message);
	g_error_free(failure);
	return NULL;
}

char **plan_file_words(JsonObject *plan, const char *command)
{
	GPtrArray *line = g_ptr_array_new();
	JsonArray *words = json_get_array(plan, "words");
	g_ptr_array_add(line, g_strdup(command));
	for (guint i = 0; i < json_array_get_length(words); i++)
		g_ptr_array_add(line, g_strdup(json_array_get_string_element(words, i)));
	g_ptr_array_add(line, g_strdup("--"));
	g_ptr_array_add(line, g_strdup(json_get_string(plan, "vm", "")));
	g_ptr_array_add(line, g_strdup(json_get_string(plan, "destination", "")));
	g_ptr_array_add(line, NULL);
	return (char **) g_ptr_array_free(line, FALSE);
}
