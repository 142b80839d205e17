/* SPDX-License-Identifier: Apache-2.0 */
/* From what lies on images to what will travel of it. See references.h. */
#include "conductor/measure/references.h"

#include "conductor/measure/prediction.h"
#include "conductor/core/move.h"

#include "base/json.h"

static const double look_through_bytes_s = 1e9; /* as src/mover/disks/seeds.c */
static const double block_bytes = 4096;

static void list_image(JsonArray *images, const char *path, const char *format, bool below)
{
	JsonObject *image = json_object_new();
	json_object_set_string_member(image, "path", path);
	json_object_set_string_member(image, "format", format);
	json_object_set_boolean_member(image, "below", below);
	json_array_add_object_element(images, image);
}

JsonArray *references_list_images(struct move *move)
{
	JsonArray *images = json_array_new();
	g_autoptr(GPtrArray) disks = disk_read_all(move->live_xml, NULL);
	for (guint i = 0; disks && i < disks->len; i++) {
		const struct disk *disk = disks->pdata[i];
		bool lies_here = disk->source == DISK_FILE || disk->source == DISK_BLOCK;
		if (!lies_here || !disk->path || !disk->format)
			continue;
		list_image(images, disk->path, disk->format, false);
		for (guint j = 0; disk->backing[j]; j++)
			if (*disk->backing[j] == '/' && *disk->backing_formats[j])
				list_image(images, disk->backing[j], disk->backing_formats[j],
					   true);
	}
	return images;
}

/* What a mover said of the image at PATH, the first behind *FROM, which is set to the place behind it; NULL:
 * nothing. */
static JsonObject *find_next(JsonArray *images, const char *path, guint *from)
{
	for (guint i = *from; images && i < json_array_get_length(images); i++) {
		JsonNode *node = json_array_get_element(images, i);
		JsonObject *image =
			JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
		if (!image || g_strcmp0(json_get_string(image, "path", NULL), path) != 0)
			continue;
		*from = i + 1;
		return image;
	}
	return NULL;
}

static JsonObject *find_image(JsonArray *images, const char *path)
{
	guint from = 0;
	return find_next(images, path, &from);
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

/* ---- the content of copied disks ---- */

/* Means over what may travel. */
static void add_packing(struct facts_packing *packing, JsonObject *content, const char *name,
			double before, double bytes)
{
	JsonObject *numbers = json_get_object(content, name);
	double share = numbers ? json_get_double(numbers, "share", 0) : 0;
	double speed = numbers ? json_get_double(numbers, "speed", 0) : 0;
	if (share <= 0 || speed <= 0 || before + bytes <= 0)
		return;
	double part = packing->share > 0 ? bytes / (before + bytes) : 1;
	packing->share += (share - packing->share) * part;
	packing->speed += (speed - packing->speed) * part;
}

/* BYTES of content that the destination may not have. */
static void add_sent(struct plan_facts *facts, JsonObject *content, double bytes)
{
	double before = facts->disk_own + facts->disk_found;
	add_packing(&facts->disk_batch, content, "batch", before, bytes);
	add_packing(&facts->disk_stream, content, "stream", before, bytes);
}

/* What an image below gives; one of that name and size at the destination is taken for the same. */
static void take_below(struct plan_facts *facts, JsonObject *content, double bytes,
		       JsonObject *here, JsonObject *there)
{
	double size = json_get_double(here, "size", 0);
	if (!there || size <= 0 || json_get_double(there, "size", -1) != size) {
		add_sent(facts, content, bytes);
		facts->disk_own += bytes;
	} else if (json_get_bool(there, "kept", false)) {
		facts->disk_named += bytes;
	} else {
		add_sent(facts, content, bytes);
		facts->disk_found += bytes;
		facts->disk_look_s += json_get_double(here, "bytes", 0) / look_through_bytes_s;
	}
}

/* How much larger than what was found a disk is, where it was not looked through to its end. */
static double whole_of(JsonObject *here, const struct move_disk *disk)
{
	double found = json_get_double(here, "bytes", 0);
	bool all = json_get_bool(here, "whole", false) || json_get_bool(here, "kept", false);
	return all || found <= 0 ? 1 : MAX((double) disk->allocated / found, 1);
}

/* What the images below DISK give to it, in bytes. Where they stay below it, they do not travel. */
static double take_known_chain(struct prediction *prediction, const struct move_disk *disk,
			       double more)
{
	JsonArray *here = prediction->images[MOVE_SOURCE];
	double all = 0;
	guint from = 0;
	find_next(here, disk->disk->path, &from);
	for (guint i = 0; disk->disk->backing[i]; i++) {
		const char *path = disk->disk->backing[i];
		JsonObject *below = find_next(here, path, &from);
		JsonObject *content = below ? json_get_object(below, "content") : NULL;
		double bytes = content ? json_get_double(content, "blocks", 0) * block_bytes : 0;
		if (content && !disk->backing)
			take_below(&prediction->facts, content, bytes * more, below,
				   find_image(prediction->images[MOVE_DESTINATION], path));
		all += bytes;
	}
	return all;
}

static void take_image_content(struct prediction *prediction, const struct move_disk *disk,
			       JsonObject *here)
{
	struct plan_facts *facts = &prediction->facts;
	JsonObject *content = json_get_object(here, "content");
	double more = whole_of(here, disk), found = json_get_double(here, "bytes", 0);
	if (!content || found <= 0)
		return;
	double below = take_known_chain(prediction, disk, more);
	double own = json_get_double(content, "blocks", 0) * block_bytes;
	add_sent(facts, content, own * more);
	facts->disk_own += own * more;
	if (!disk->backing)
		facts->disk_named += MAX(found - below - own, 0) * more;
}

/* Sampled pages on it and, where it was not looked through to its end, on those below. */
static double count_known(const struct prediction *prediction, const struct move_disk *disk,
			  JsonObject *here)
{
	double known = json_get_double(here, "known", 0);
	JsonArray *images = prediction->images[MOVE_SOURCE];
	guint from = 0;
	find_next(images, disk->disk->path, &from);
	for (guint i = 0; disk->disk->backing[i]; i++) {
		JsonObject *below = find_next(images, disk->disk->backing[i], &from);
		known += below ? json_get_double(below, "known", 0) : 0;
	}
	return known;
}

void references_take(struct move *move)
{
	struct prediction *prediction = move->prediction;
	struct plan_facts *facts = &prediction->facts;
	double pages = facts->data * facts->sample_pages;
	GPtrArray *disks = move->report->disks;
	for (guint i = 0; disks && i < disks->len; i++) {
		const struct move_disk *disk = disks->pdata[i];
		JsonObject *here = find_image(prediction->images[MOVE_SOURCE], disk->disk->path);
		if (!here)
			continue;
		double part = pages > 0 ? count_known(prediction, disk, here) / pages : 0;
		if (disk->kind == MOVE_DISK_COPIED) {
			facts->on_copied += part;
			take_image_content(prediction, disk, here);
		} else if (disk->kind == MOVE_DISK_SHARED && disk->proven) {
			take_shared(
				facts, part, here,
				find_image(prediction->images[MOVE_DESTINATION], disk->disk->path));
		}
	}
}
