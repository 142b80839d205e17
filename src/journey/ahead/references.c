/* SPDX-License-Identifier: Apache-2.0 */
/* From pages that lie on images to references that will travel. See references.h. */
#include "journey/ahead/references.h"

#include "journey/ahead/ahead.h"
#include "journey/state.h"

#include "base/json.h"

static const double look_through_bytes_s = 1e9; /* as src/mover/seeds.c */

JsonArray *references_list_images(struct journey *journey)
{
	JsonArray *images = json_array_new();
	g_autoptr(GPtrArray) disks = disk_read_all(journey->live_xml, NULL);
	for (guint i = 0; disks && i < disks->len; i++) {
		const struct disk *disk = disks->pdata[i];
		bool lies_here = disk->source == DISK_FILE || disk->source == DISK_BLOCK;
		if (!lies_here || !disk->path || !disk->format)
			continue;
		JsonObject *image = json_object_new();
		json_object_set_string_member(image, "path", disk->path);
		json_object_set_string_member(image, "format", disk->format);
		json_array_add_object_element(images, image);
	}
	return images;
}

/* What a mover said of the image at PATH; NULL: nothing. */
static JsonObject *find_image(JsonArray *images, const char *path)
{
	for (guint i = 0; images && i < json_array_get_length(images); i++) {
		JsonNode *node = json_array_get_element(images, i);
		JsonObject *image =
			JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
		if (image && g_strcmp0(json_get_string(image, "path", NULL), path) == 0)
			return image;
	}
	return NULL;
}

static void take_shared(struct plan_facts *facts, double part, JsonObject *here, JsonObject *there)
{
	if (there && json_get_bool(there, "kept", false)) {
		facts->on_indexed += part;
		return;
	}
	facts->on_new += part;
	facts->look_through_s += json_get_double(here, "bytes", 0) / look_through_bytes_s;
}

void references_take(struct journey *journey)
{
	struct ahead *ahead = journey->ahead;
	struct plan_facts *facts = &ahead->facts;
	double pages = facts->data * facts->sample_pages;
	GPtrArray *disks = journey->report->disks;
	for (guint i = 0; pages > 0 && disks && i < disks->len; i++) {
		const struct journey_disk *disk = disks->pdata[i];
		JsonObject *here = find_image(ahead->images[JOURNEY_SOURCE], disk->disk->path);
		if (!here)
			continue;
		double part = json_get_double(here, "known", 0) / pages;
		if (disk->kind == JOURNEY_DISK_COPIED)
			facts->on_copied += part;
		else if (disk->kind == JOURNEY_DISK_SHARED && disk->proven)
			take_shared(
				facts, part, here,
				find_image(ahead->images[JOURNEY_DESTINATION], disk->disk->path));
	}
}
