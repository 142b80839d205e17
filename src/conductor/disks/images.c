/* SPDX-License-Identifier: Apache-2.0 */
/* Images made, noted and removed. See images.h. */
#include "conductor/disks/images.h"

#include "conductor/core/stage.h"

#include "base/i18n.h"
#include "base/json.h"
#include "host/image.h"
#include "host/secret.h"

/* ---- the journal ---- */

/* What a killed conductor leaves is found by this alone, so without a journal nothing is made. */
static bool write_images_down(struct journey *journey, GError **error)
{
	g_autoptr(JsonNode) node = json_node_new(JSON_NODE_ARRAY);
	json_node_set_array(node, journey->images);
	g_autofree char *text = json_to_string(node, FALSE);
	bool good = stage_enter_recorded(journey, STAGE_IMAGES, text, error);
	error_classify(error, WATARI_ERROR_REFUSED, NULL);
	return good;
}

bool images_note_intent(struct journey *journey, const struct images_intent *intent,
			unsigned *index, GError **error)
{
	JsonObject *image = json_object_new();
	if (!journey->images)
		journey->images = json_array_new();
	json_set_text(image, "path", intent->path);
	json_set_text(image, "pool", intent->pool);
	json_set_text(image, "secret", intent->secret);
	json_set_text(image, "kept", intent->kept);
	json_set_text(image, "token", intent->token);
	json_set_text(image, "identity", NULL);
	json_array_add_object_element(journey->images, image);
	*index = json_array_get_length(journey->images) - 1;
	return write_images_down(journey, error);
}

bool images_note_made(struct journey *journey, unsigned index, const char *identity, GError **error)
{
	JsonObject *image = json_array_get_object_element(journey->images, index);
	json_set_text(image, "identity", identity);
	return write_images_down(journey, error);
}

void images_read(struct journey *journey, const char *id)
{
	g_autofree char *text = journal_find_event(journey->journal, id, stage_name(STAGE_IMAGES));
	g_autoptr(JsonParser) parser = json_parser_new();
	if (!text || journal_has_event(journey->journal, id, stage_name(STAGE_IMAGES_REMOVED)) ||
	    !json_parser_load_from_data(parser, text, -1, NULL))
		return;
	JsonNode *root = json_parser_get_root(parser);
	if (root && JSON_NODE_HOLDS_ARRAY(root))
		journey->images = json_array_ref(json_node_get_array(root));
}

int images_count_secrets(struct journey *journey)
{
	guint count = journey->images ? json_array_get_length(journey->images) : 0;
	int secrets = 0;
	for (guint i = 0; i < count; i++) {
		JsonNode *node = json_array_get_element(journey->images, i);
		JsonObject *image =
			JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
		secrets += image && json_get_string(image, "secret", NULL) != NULL;
	}
	return secrets;
}

/* ---- removal ---- */

struct removing {
	struct journey *journey;
	struct host *host;
	JsonObject *image;
	GError *error;
};

static bool remove_volume(struct host *host, const char *pool_name, const char *path,
			  GError **error)
{
	g_autofree char *name = g_path_get_basename(path);
	virStoragePoolPtr pool =
		host ? virStoragePoolLookupByName(host->connection, pool_name) : NULL;
	virStorageVolPtr volume = pool ? virStorageVolLookupByName(pool, name) : NULL;
	bool good = pool && (!volume || virStorageVolDelete(volume, 0) == 0);
	if (!good)
		host_error(error, WATARI_ERROR_INTERNAL, NULL, path);
	if (volume)
		virStorageVolFree(volume);
	if (pool)
		virStoragePoolFree(pool);
	return good;
}

/* Until its identity is written down only its mark says that it is ours. */
static void remove_secret(struct removing *removing, const char *uuid)
{
	const char *identity = json_get_string(removing->image, "identity", NULL);
	const char *token = json_get_string(removing->image, "token", "");
	if (removing->host)
		secret_remove(removing->host->connection, uuid, identity ? NULL : token,
			      &removing->error);
	else
		error_set(&removing->error, WATARI_ERROR_INTERNAL, NULL, "%s",
			  _("libvirt there cannot be reached"));
}

/* A volume that was never made (no identity) may be somebody else's of the same name. */
static void call_remove(void *data)
{
	struct removing *removing = data;
	struct journey *journey = removing->journey;
	const char *path = json_get_string(removing->image, "path", NULL);
	const char *pool = json_get_string(removing->image, "pool", NULL);
	const char *identity = json_get_string(removing->image, "identity", NULL);
	const char *kept = json_get_string(removing->image, "kept", NULL);
	const char *token = json_get_string(removing->image, "token", NULL);
	const char *secret = json_get_string(removing->image, "secret", NULL);
	if (secret)
		remove_secret(removing, secret);
	else if (kept && path)
		image_put_back(&journey->shell, journey->addresses[JOURNEY_DESTINATION], path,
			       identity, kept, &removing->error);
	else if (pool && path && identity)
		remove_volume(removing->host, pool, path, &removing->error);
	else if (!pool && path && !identity)
		image_remove_intended(&journey->shell, journey->addresses[JOURNEY_DESTINATION],
				      path, token, &removing->error);
	else if (!pool && path)
		image_remove(&journey->shell, journey->addresses[JOURNEY_DESTINATION], path,
			     identity, &removing->error);
	/* it may still have its own name beside */
	if (!pool && path && identity && token)
		image_settle(&journey->shell, journey->addresses[JOURNEY_DESTINATION], path, token,
			     NULL);
}

static bool remove_one(struct journey *journey, struct host *host, JsonObject *image)
{
	struct removing removing = { journey, host, image, NULL };
	journey_call(journey, call_remove, &removing);
	if (!removing.error)
		return true;
	g_autofree char *what = error_what(removing.error);
	const char *secret = json_get_string(image, "secret", NULL);
	journey_note(journey, true,
		     secret ? _("The new secret %s at the destination is not removed: %s")
			    : _("The new image %s at the destination is not removed: %s"),
		     secret ? secret : json_get_string(image, "path", "?"), what);
	g_clear_error(&removing.error);
	return false;
}

void images_remove(struct journey *journey, struct host *destination)
{
	bool good = true;
	if (!journey->images)
		return;
	for (guint i = 0; i < json_array_get_length(journey->images); i++) {
		JsonNode *node = json_array_get_element(journey->images, i);
		if (JSON_NODE_HOLDS_OBJECT(node))
			good &= remove_one(journey, destination, json_node_get_object(node));
	}
	if (good)
		stage_note_done(journey, STAGE_IMAGES_REMOVED);
	journey->acted = true;
	g_clear_pointer(&journey->images, json_array_unref);
}
