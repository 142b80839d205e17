/* SPDX-License-Identifier: Apache-2.0 */
/* Checks every absolute path in a VM's description that no row of the list speaks of, so that nothing
 * is lost because nobody thought of it; and says which logs stay behind. */
#include "host/belongings/belongings.h"

#include "base/i18n.h"

#include <string.h>

/* Attributes and texts of elements without others. */
#define EVERY_PATH "//@*[starts-with(., '/')] | //*[not(*)]/text()[starts-with(., '/')]"

struct named_file {
	char *path, *place; /* place: where it stands, for a person */
};

static void free_named_file(gpointer data)
{
	struct named_file *file = data;
	g_free(file->path);
	g_free(file->place);
	g_free(file);
}

/* ---- finding them ---- */

/* Below anything that an earlier row speaks of: a row of its own or another check looks at it. */
static bool is_claimed(GHashTable *claimed, xmlNodePtr node)
{
	for (; node && node->type != XML_DOCUMENT_NODE; node = node->parent)
		if (g_hash_table_contains(claimed, node))
			return true;
	return false;
}

static char *describe_place(xmlNodePtr node)
{
	g_autoptr(GString) place = g_string_new(NULL);
	for (; node && node->parent && node->parent->type != XML_DOCUMENT_NODE; node = node->parent)
		if (node->type != XML_TEXT_NODE)
			g_string_prepend(g_string_prepend(place, (const char *) node->name), "/");
	return g_strdup(place->str + (place->len > 0));
}

/* libvirt makes these itself, at each host anew. */
static bool is_libvirts_path(const char *path)
{
	static const char *const places[] = { "/var/lib/libvirt/qemu/", "/run/libvirt/qemu/",
					      "/var/run/libvirt/qemu/" };
	for (size_t i = 0; i < G_N_ELEMENTS(places); i++)
		if (g_str_has_prefix(path, places[i]))
			return true;
	return false;
}

static void add_named_file(struct check_context *context, xmlNodePtr node, GPtrArray *files)
{
	g_autofree char *text = xml_path(context->vm, node, ".");
	/* "/" alone names nothing */
	if (!text || text[0] != '/' || !text[1] || is_libvirts_path(text) || strchr(text, '\n'))
		return;
	struct named_file *file = g_new0(struct named_file, 1);
	file->path = g_strdup(text);
	file->place = describe_place(node);
	g_ptr_array_add(files, file);
}

static GPtrArray *list_named_files(struct check_context *context)
{
	GPtrArray *files = g_ptr_array_new_with_free_func(free_named_file);
	g_autoptr(GHashTable) claimed = g_hash_table_new(NULL, NULL);
	for (const struct belonging *each = belongings; each->name; each++) {
		g_autoptr(GPtrArray) nodes = each->path && each->check != belonging_check_files
						     ? xml_find(context->vm, NULL, each->path)
						     : g_ptr_array_new();
		for (guint i = 0; i < nodes->len; i++)
			g_hash_table_add(claimed, nodes->pdata[i]);
	}
	g_autoptr(GPtrArray) nodes = xml_find(context->vm, NULL, EVERY_PATH);
	for (guint i = 0; i < nodes->len; i++)
		if (!is_claimed(claimed, nodes->pdata[i]))
			add_named_file(context, nodes->pdata[i], files);
	return files;
}

/* ---- asking for them ---- */

static void judge_named_file(struct check_context *context, const struct named_file *file)
{
	/* a VM that is off need not run there at once */
	check_add(context->findings, "path", context->options->offline ? CHECK_WARN : CHECK_REFUSE,
		  _("Bring it there under the same path, or take it out of the VM."),
		  _("%s has no %s, which “%s” names (%s)"), context->destination->name, file->path,
		  context->name, file->place);
}

static void ask_for_files(struct check_context *context, const GPtrArray *files)
{
	g_autoptr(GPtrArray) words = g_ptr_array_new();
	for (guint i = 0; i < files->len; i++)
		g_ptr_array_add(words, ((const struct named_file *) files->pdata[i])->path);
	g_auto(GStrv) missing = check_missing_there(context, "-e", "", words);
	if (!missing)
		check_add(context->findings, "path", CHECK_WARN, NULL,
			  _("whether %s has the files that “%s” names could not be asked over the "
			    "shell"),
			  context->destination->name, context->name);
	for (guint i = 0; missing && i < files->len; i++) {
		const struct named_file *file = files->pdata[i];
		if (g_strv_contains((const char *const *) missing, file->path))
			judge_named_file(context, file);
	}
}

void belonging_check_files(struct check_context *context)
{
	unsigned before = context->findings->len;
	g_autoptr(GPtrArray) files = list_named_files(context);
	if (files->len > 0)
		ask_for_files(context, files);
	if (context->findings->len == before)
		check_add(context->findings, "path", CHECK_PASS, NULL, NULL);
}

/* ---- logs ---- */

/* A log goes on at the destination in a file of its own. */
void belonging_check_logs(struct check_context *context)
{
	g_autoptr(GPtrArray) nodes =
		xml_find(context->vm, NULL,
			 "devices/*/log/@file | devices/serial[@type='file']/source/@path | "
			 "devices/console[@type='file']/source/@path");
	for (guint i = 0; i < nodes->len; i++) {
		g_autofree char *path = xml_path(context->vm, nodes->pdata[i], ".");
		check_add(context->findings, "log", CHECK_PASS, NULL,
			  _("“%s” writes to %s: what is written so far stays at %s, unless both "
			    "hosts share it"),
			  context->name, path, context->source->name);
	}
}
