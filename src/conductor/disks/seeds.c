/* SPDX-License-Identifier: Apache-2.0 */
/* The message "seeds". See seeds.h. */
#include "conductor/disks/seeds.h"

#include "conductor/core/movers.h"

#include "base/i18n.h"
#include "base/json.h"
#include "control/messages.h"
#include "nbd/reader.h"
#include "host/image.h"

#include <string.h>

enum { READY_MS = 30000, IMAGES_MAX = 64 /* that a mover takes */ };

static JsonObject *describe_seed(const char *kind, const char *path, const char *format)
{
	JsonObject *image = json_object_new();
	json_object_set_string_member(image, "kind", kind);
	json_object_set_string_member(image, "path", path);
	json_object_set_string_member(image, "format", format);
	return image;
}

/* ---- what the destination has, asked there ---- */

struct listing {
	struct move *move;
	JsonArray *images;
	GError *error;
};

/* Nothing is opened there in a format that was found by looking: what a VM wrote into an image could
 * name any file of that host as the next one. */
static bool is_readable(struct listing *listing, const char *path, const char *format,
			GError **error)
{
	struct move *move = listing->move;
	g_autoptr(GPtrArray) chain = image_read_chain(
		&move->shell, move->addresses[MOVE_DESTINATION], path, format, NULL, error);
	return chain != NULL;
}

static bool has_room(const struct listing *listing)
{
	return json_array_get_length(listing->images) < IMAGES_MAX;
}

/* "FORMAT:/path"; "/path" is read as the bytes that the file has, whatever they are. */
static const char *split_seed(const char *seed, char **format)
{
	const char *path = *seed == '/' ? seed : strstr(seed, ":/");
	*format = g_strdup("raw");
	if (!path || *seed == '/')
		return path;
	g_free(*format);
	*format = g_strndup(seed, (gsize) (path - seed));
	return path + 1;
}

static bool add_seed(struct listing *listing, const char *seed)
{
	g_autoptr(GError) failure = NULL;
	g_autofree char *format = NULL;
	const char *path = split_seed(seed, &format);
	if (!has_room(listing))
		return true;
	if (is_readable(listing, path, format, &failure)) {
		json_array_add_object_element(listing->images, describe_seed("seed", path, format));
		return true;
	}
	error_classify(&failure, WATARI_ERROR_REFUSED,
		       _("A seed is an image at the destination: see whether it is there, or leave "
			 "--seed out."));
	error_prefix(&failure, "--%s %s", "seed", seed);
	listing->error = g_steal_pointer(&failure);
	return false;
}

static void add_shared(struct listing *listing, const struct move_disk *disk)
{
	const struct disk *facts = disk->disk;
	if (!has_room(listing) || !is_readable(listing, facts->path, facts->format, NULL))
		return;
	JsonObject *image = describe_seed("shared", facts->path, facts->format);
	json_object_set_string_member(image, "target", facts->target);
	json_object_set_string_member(image, "source_path", facts->path);
	json_array_add_object_element(listing->images, image);
}

/* In the formats that they have at the source: another file of that name there is no more than a bad
 * seed. */
static void add_backing(struct listing *listing, const struct move_disk *disk)
{
	for (guint i = 1; disk->source_chain && disk->source_chain[0] && disk->source_chain[i];
	     i++) {
		const char *path = disk->source_chain[i], *format = disk->source_formats[i];
		if (*path == '/' && has_room(listing) && is_readable(listing, path, format, NULL))
			json_array_add_object_element(listing->images,
						      describe_seed("backing", path, format));
	}
}

static void call_list(void *data)
{
	struct listing *listing = data;
	struct move *move = listing->move;
	GPtrArray *disks = move->report->disks;
	for (const char *const *seed = move->request->seeds; *seed; seed++)
		if (!add_seed(listing, *seed))
			return;
	for (guint i = 0; i < disks->len; i++) {
		const struct move_disk *disk = disks->pdata[i];
		if (disk->kind == MOVE_DISK_SHARED && disk->proven)
			add_shared(listing, disk);
		else if (disk->kind == MOVE_DISK_COPIED)
			add_backing(listing, disk);
	}
}

/* ---- the message ---- */

static bool tell_seeds(struct move *move, JsonArray *images, GError **error)
{
	for (int side = MOVE_SIDES - 1; side >= 0; side--) {
		JsonObject *message = dialogue_message(MESSAGE_SEEDS);
		json_object_set_array_member(message, "images", json_array_ref(images));
		g_autoptr(JsonObject) ready =
			movers_ask(move, side, message, MESSAGE_SEEDS_READY, READY_MS, error);
		if (!ready)
			return false;
	}
	return true;
}

bool seeds_check_words(const char *const *seeds, GError **error)
{
	for (; *seeds; seeds++) {
		g_autofree char *format = NULL;
		const char *path = split_seed(*seeds, &format);
		if (path && disk_reader_is_format(format))
			continue;
		return error_set(error, WATARI_ERROR_USAGE,
				 _("Write it like /srv/template.raw or qcow2:/srv/template.qcow2."),
				 _("--seed: “%s” says no format and path"), *seeds);
	}
	return true;
}

bool seeds_tell(struct move *move, GError **error)
{
	bool usable = movers_can(move, "seeds");
	if (!usable && move->request->seeds[0])
		return error_set(error, WATARI_ERROR_REFUSED, _("Leave --seed out."),
				 _("the movers of this version cannot use seeds"));
	if (!usable)
		return true;
	g_autoptr(JsonArray) images = json_array_new();
	struct listing listing = { .move = move, .images = images };
	move_call(move, call_list, &listing);
	if (listing.error) {
		g_propagate_error(error, listing.error);
		return false;
	}
	return json_array_get_length(images) == 0 || tell_seeds(move, images, error);
}
