/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the list of disks and seeds from the conductor's message. */
#include "mover/core/disk_list.h"

#include "base/error.h"
#include "base/i18n.h"
#include "nbd/nbd_wire.h"
#include "nbd/reader.h"

#include <string.h>

static bool bad(GError **error, const char *field)
{
	return error_set(error, WATARI_ERROR_INTERNAL, NULL, _("disks: bad or missing “%s”"),
			 field);
}

static bool parse_disk(JsonObject *object, struct disk_setting *disk, GError **error)
{
	disk->target = g_strdup(json_get_string(object, "target", NULL));
	disk->export = g_strdup(json_get_string(object, "export", NULL));
	disk->path = g_strdup(json_get_string(object, "path", NULL));
	disk->format = g_strdup(json_get_string(object, "format", NULL));
	disk->fresh = json_get_bool(object, "fresh", false);
	if (!disk->target || !*disk->target)
		return bad(error, "target");
	if (disk->path && !disk_reader_is_format(disk->format))
		return bad(error, "format");
	if (!disk->export || !*disk->export || strlen(disk->export) > NBD_NAME_MAX)
		return bad(error, "export");
	if (disk->path && *disk->path != '/')
		return bad(error, "path");
	return true;
}

static bool is_new(const struct disks *disks, const struct disk_setting *disk, GError **error)
{
	for (unsigned i = 0; i < disks->count; i++)
		if (g_str_equal(disks->disks[i].export, disk->export))
			return bad(error, "export");
	return true;
}

bool disks_parse(struct disks *disks, JsonObject *message, GError **error)
{
	JsonArray *list = json_get_array(message, "disks");
	guint count = list ? json_array_get_length(list) : 0;
	const char *verify = json_get_string(message, "verify", "none");
	disks->verify = g_str_equal(verify, "full");
	disks->rate = (uint64_t) MAX(json_get_int(message, "rate", 0), 0);
	if (!disks->verify && !g_str_equal(verify, "none"))
		return bad(error, "verify");
	if (count > KNOWN_DISKS_MAX)
		return bad(error, "disks");
	for (guint i = 0; i < count; i++, disks->count++) {
		JsonNode *node = json_array_get_element(list, i);
		struct disk_setting *disk = &disks->disks[i];
		if (!JSON_NODE_HOLDS_OBJECT(node))
			return bad(error, "disks");
		if (!parse_disk(json_node_get_object(node), disk, error) ||
		    !is_new(disks, disk, error))
			return false;
	}
	return true;
}

bool disks_parse_seeds(struct disks *disks, JsonObject *message, GError **error)
{
	JsonArray *list = json_get_array(message, "images");
	guint count = list ? json_array_get_length(list) : 0;
	if (count > KNOWN_SEEDS_MAX)
		return bad(error, "images");
	for (guint i = 0; i < count; i++, disks->seed_count++) {
		JsonNode *node = json_array_get_element(list, i);
		JsonObject *image =
			JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
		struct seed_setting *seed = &disks->seeds[i];
		seed->path = image ? g_strdup(json_get_string(image, "path", NULL)) : NULL;
		seed->format = image ? g_strdup(json_get_string(image, "format", NULL)) : NULL;
		if (!seed->path || *seed->path != '/')
			return bad(error, "path");
		if (!disk_reader_is_format(seed->format))
			return bad(error, "format");
	}
	return true;
}

void disks_free(struct disks *disks)
{
	if (!disks)
		return;
	for (unsigned i = 0; i < KNOWN_DISKS_MAX; i++) {
		g_free(disks->disks[i].target);
		g_free(disks->disks[i].export);
		g_free(disks->disks[i].path);
		g_free(disks->disks[i].format);
	}
	for (unsigned i = 0; i < KNOWN_SEEDS_MAX; i++) {
		g_free(disks->seeds[i].path);
		g_free(disks->seeds[i].format);
	}
	g_free(disks);
}
