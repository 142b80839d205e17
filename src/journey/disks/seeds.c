/* SPDX-License-Identifier: Apache-2.0 */
/* The message "seeds". See seeds.h. */
#include "journey/disks/seeds.h"

#include "journey/movers.h"

#include "base/i18n.h"
#include "base/json.h"
#include "host/image.h"

enum { READY_MS = 30000, IMAGES_MAX = 64 /* that a mover takes */ };

static JsonObject *describe(const char *kind, const char *path, const char *format)
{
	JsonObject *image = json_object_new();
	json_object_set_string_member(image, "kind", kind);
	json_object_set_string_member(image, "path", path);
	json_object_set_string_member(image, "format", format);
	return image;
}

/* ---- what the destination has, asked there ---- */

struct listing {
	struct journey *journey;
	JsonArray *images;
	GError *error;
};

static bool add_image(struct listing *listing, const char *kind, const char *path, bool needed)
{
	struct journey *journey = listing->journey;
	g_autoptr(GError) failure = NULL;
	if (json_array_get_length(listing->images) >= IMAGES_MAX)
		return true;
	g_autoptr(GPtrArray) chain = image_read_chain(
		&journey->shell, journey->addresses[JOURNEY_DESTINATION], path, NULL, &failure);
	if (chain) {
		const struct image *top = chain->pdata[0];
		json_array_add_object_element(listing->images, describe(kind, path, top->format));
		return true;
	}
	if (!needed)
		return true;
	error_classify(&failure, WATARI_ERROR_REFUSED,
		       _("A seed is an image at the destination: see whether it is there, or leave "
			 "--seed out."));
	error_prefix(&failure, "--%s %s", "seed", path);
	listing->error = g_steal_pointer(&failure);
	return false;
}

static void add_shared(struct listing *listing, const struct journey_disk *disk)
{
	if (json_array_get_length(listing->images) >= IMAGES_MAX)
		return;
	JsonObject *image = describe("shared", disk->disk->path, disk->disk->format);
	json_object_set_string_member(image, "target", disk->disk->target);
	json_object_set_string_member(image, "source_path", disk->disk->path);
	json_array_add_object_element(listing->images, image);
}

static void call_list(void *data)
{
	struct listing *listing = data;
	struct journey *journey = listing->journey;
	GPtrArray *disks = journey->report->disks;
	for (const char *const *seed = journey->request->seeds; *seed; seed++)
		if (!add_image(listing, "seed", *seed, true))
			return;
	for (guint i = 0; i < disks->len; i++) {
		const struct journey_disk *disk = disks->pdata[i];
		if (disk->kind == JOURNEY_DISK_SHARED && disk->proven)
			add_shared(listing, disk);
		char **chain = disk->kind == JOURNEY_DISK_COPIED ? disk->source_chain : NULL;
		for (char **path = chain && *chain ? chain + 1 : NULL; path && *path; path++)
			add_image(listing, "backing", *path, false);
	}
}

/* ---- the message ---- */

static bool tell(struct journey *journey, JsonArray *images, GError **error)
{
	for (int side = JOURNEY_SIDES - 1; side >= 0; side--) {
		JsonObject *message = dialogue_message("seeds");
		json_object_set_array_member(message, "images", json_array_ref(images));
		g_autoptr(JsonObject) ready =
			movers_ask(journey, side, message, "seeds-ready", READY_MS, error);
		if (!ready)
			return false;
	}
	return true;
}

bool seeds_tell(struct journey *journey, GError **error)
{
	bool usable = movers_can(journey, "seeds");
	if (!usable && journey->request->seeds[0])
		return error_set(error, WATARI_ERROR_REFUSED, _("Leave --seed out."),
				 _("the movers of this version cannot use seeds"));
	if (!usable)
		return true;
	g_autoptr(JsonArray) images = json_array_new();
	struct listing listing = { .journey = journey, .images = images };
	journey_call(journey, call_list, &listing);
	if (listing.error) {
		g_propagate_error(error, listing.error);
		return false;
	}
	return json_array_get_length(images) == 0 || tell(journey, images, error);
}
