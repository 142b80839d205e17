/* SPDX-License-Identifier: Apache-2.0 */
/* The disks of a move. See disk.h. */
#include "conductor/core/disk.h"

#include "base/json.h"

static void free_move_disk(gpointer data)
{
	struct move_disk *disk = data;
	disk_free(disk->disk);
	char *const texts[] = { disk->destination, disk->format, disk->backing,
				disk->backing_format, disk->digest };
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	g_strfreev(disk->source_chain);
	g_strfreev(disk->source_formats);
	g_free(disk);
}

GPtrArray *move_disks_new(GPtrArray *disks)
{
	GPtrArray *all = g_ptr_array_new_with_free_func(free_move_disk);
	while (disks->len > 0) {
		struct move_disk *disk = g_new0(struct move_disk, 1);
		disk->disk = g_ptr_array_steal_index(disks, 0);
		g_ptr_array_add(all, disk);
	}
	return all;
}

struct move_disk *move_disk_find(GPtrArray *disks, const char *target)
{
	for (guint i = 0; disks && target && i < disks->len; i++) {
		struct move_disk *disk = disks->pdata[i];
		if (g_strcmp0(disk->disk->target, target) == 0)
			return disk;
	}
	return NULL;
}

/* Under a running VM libvirt has the last word about it. */
char *move_disk_export(const struct move_disk *disk)
{
	const char *alias = disk->disk->alias;
	return g_strconcat("drive-", alias ? alias : disk->disk->target, NULL);
}

const char *move_disk_written_as(const struct move_disk *disk)
{
	if (disk->whole)
		return "raw";
	return disk->encrypted && g_str_equal(disk->format, "raw") ? "luks" : disk->format;
}

unsigned move_disks_count(const GPtrArray *disks, enum move_disk_kind kind)
{
	unsigned count = 0;
	for (guint i = 0; disks && i < disks->len; i++)
		count += ((const struct move_disk *) disks->pdata[i])->kind == kind;
	return count;
}

static const char *const kind_names[] = {
	[MOVE_DISK_UNKNOWN] = "unknown",     [MOVE_DISK_EMPTY] = "empty",
	[MOVE_DISK_READ_ONLY] = "read-only", [MOVE_DISK_NETWORK] = "network",
	[MOVE_DISK_SHARED] = "shared",       [MOVE_DISK_COPIED] = "copied",
	[MOVE_DISK_CARRIED] = "carried",
};
_Static_assert(G_N_ELEMENTS(kind_names) == MOVE_DISK_KIND_LAST, "every kind has a name");

const char *move_disk_kind_name(enum move_disk_kind kind)
{
	return kind_names[kind];
}

/* ---- for the report ---- */

static void set_disk_number(JsonObject *object, const char *name, uint64_t number)
{
	if (number > 0)
		json_object_set_int_member(object, name, (gint64) number);
	else
		json_object_set_null_member(object, name);
}

static JsonObject *describe_move_disk(const struct move_disk *disk)
{
	bool carried = disk->kind == MOVE_DISK_CARRIED;
	bool copied = disk->kind == MOVE_DISK_COPIED || carried;
	JsonObject *object = json_object_new();
	json_set_text(object, "target", disk->disk->target);
	json_set_text(object, "kind", kind_names[disk->kind]);
	json_set_text(object, "source", disk->disk->path);
	json_set_text(object, "destination", copied ? disk->destination : disk->disk->path);
	json_set_text(object, "format", copied && !carried ? disk->format : disk->disk->format);
	set_disk_number(object, "size", disk->size);
	json_set_text(object, "backing", disk->backing);
	if (copied)
		json_object_set_int_member(object, "bytes", (gint64) disk->literal);
	else
		json_object_set_null_member(object, "bytes");
	json_object_set_boolean_member(object, "proven", copied ? disk->agreed : disk->proven);
	json_object_set_boolean_member(object, "trusted", disk->trusted);
	json_set_text(object, "digest", disk->digest);
	set_disk_number(object, "verified_blocks", (uint64_t) MAX(disk->verified, 0));
	return object;
}

JsonArray *move_disks_describe(const GPtrArray *disks)
{
	JsonArray *array = json_array_new();
	for (guint i = 0; disks && i < disks->len; i++)
		json_array_add_object_element(array, describe_move_disk(disks->pdata[i]));
	return array;
}

/* ---- from the movers ---- */

void move_disks_take_stats(GPtrArray *disks, JsonArray *stats)
{
	for (guint i = 0; stats && i < json_array_get_length(stats); i++) {
		JsonNode *node = json_array_get_element(stats, i);
		if (!JSON_NODE_HOLDS_OBJECT(node))
			continue;
		JsonObject *object = json_node_get_object(node);
		struct move_disk *disk =
			move_disk_find(disks, json_get_string(object, "target", NULL));
		if (!disk)
			continue;
		disk->literal = (uint64_t) json_get_int(object, "literal", 0);
		disk->written = (uint64_t) json_get_int(object, "written", 0);
	}
}

void move_disks_take_digest(GPtrArray *disks, JsonObject *event)
{
	struct move_disk *disk = move_disk_find(disks, json_get_string(event, "target", NULL));
	if (!disk)
		return;
	g_free(disk->digest);
	disk->digest = g_strdup(json_get_string(event, "digest", NULL));
	disk->agreed = true;
}

void move_disks_take_proof(GPtrArray *disks, JsonObject *event)
{
	struct move_disk *disk = move_disk_find(disks, json_get_string(event, "target", NULL));
	if (disk)
		disk->verified = json_get_int(event, "blocks", 0);
}
