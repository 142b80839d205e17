/* SPDX-License-Identifier: Apache-2.0 */
#include "mover/disks.h"

#include "base/error.h"
#include "base/i18n.h"
#include "disk/nbd_wire.h"

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
	disk->format = g_strdup(json_get_string(object, "format", "raw"));
	disk->fresh = json_get_bool(object, "fresh", false);
	if (!disk->target || !*disk->target)
		return bad(error, "target");
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

struct disks *disks_parse(JsonObject *message, GError **error)
{
	struct disks *disks = g_new0(struct disks, 1);
	JsonArray *list = json_get_array(message, "disks");
	guint count = list ? json_array_get_length(list) : 0;
	bool good = count <= KNOWN_DISKS_MAX || bad(error, "disks");
	for (guint i = 0; good && i < count; i++) {
		JsonNode *node = json_array_get_element(list, i);
		struct disk_setting *disk = &disks->disks[i];
		good = (JSON_NODE_HOLDS_OBJECT(node) || bad(error, "disks")) &&
		       parse_disk(json_node_get_object(node), disk, error) &&
		       is_new(disks, disk, error);
		disks->count += good;
	}
	if (good)
		return disks;
	disks->count = count; /* a row that was begun is freed too */
	disks_free(disks);
	return NULL;
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
	g_free(disks);
}
