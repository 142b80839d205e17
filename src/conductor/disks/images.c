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
static bool write_images_down(struct move *move, GError **error)
{
	g_autoptr(JsonNode) node = json_node_new(JSON_NODE_ARRAY);
	json_node_set_array(node, move->images);
	g_autofree char *text = json_to_string(node, FALSE);
	bool good = stage_enter_recorded(move, STAGE_IMAGES, text, error);
	error_classify(error, WATARI_ERROR_REFUSED, NULL);
	return good;
}

bool images_note_intent(struct move *move, const struct images_intent *intent, unsigned *index,
			GError **error)
{
	JsonObject *image = json_object_new();
	if (!move->images)
		move->images = json_array_new();
	json_set_text(image, "path", intent->path);
	json_set_text(image, "pool", intent->pool);
	json_set_text(image, "secret", intent->secret);
	json_set_text(image, "kept", intent->kept);
	json_set_text(image, "token", intent->token);
	json_set_text(image, "identity", NULL);
	json_array_add_object_element(move->images, image);
	*index = json_array_get_length(move->images) - 1;
	return write_images_down(move, error);
}

bool images_note_made(struct move *move, unsigned index, const char *identity, GError **error)
{
	JsonObject *image = json_array_get_object_element(move->images, index);
	json_set_text(image, "identity", identity);
	return write_images_down(move, error);
}

void images_read(struct move *move, const char *id)
{
	g_autofree char *text = journal_find_event(move->journal, id, stage_name(STAGE_IMAGES));
	g_autoptr(JsonParser) parser = json_parser_new();
	if (!text || journal_has_event(move->journal, id, stage_name(STAGE_IMAGES_REMOVED)) ||
	    !json_parser_load_from_data(parser, text, -1, NULL))
		return;
	JsonNode *root = json_parser_get_root(parser);
	if (root && JSON_NODE_HOLDS_ARRAY(root))
		move->images = json_array_ref(json_node_get_array(root));
}

int images_count_secrets(struct move *move)
{
	guint count = move->images ? json_array_get_length(move->images) : 0;
	int secrets = 0;
	for (guint i = 0; i < count; i++) {
		JsonNode *node = json_array_get_element(move->images, i);
		JsonObject *image =
			JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
		secrets += image && json_get_string(image, "secret", NULL) != NULL;
	}
	return secrets;
}

/* ---- removal ---- */

struct removing {
	struct move *move;
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
	struct move *move = removing->move;
	const char *path = json_get_string(removing->image, "path", NULL);
	const char *pool = json_get_string(removing->image, "pool", NULL);
	const char *identity = json_get_string(removing->image, "identity", NULL);
	const char *kept = json_get_string(removing->image, "kept", NULL);
	const char *token = json_get_string(removing->image, "token", NULL);
	const char *secret = json_get_string(removing->image, "secret", NULL);
	if (secret)
		remove_secret(removing, secret);
	else if (kept && path)
		image_put_back(&move->shell, move->addresses[MOVE_DESTINATION], path, identity,
			       kept, &removing->error);
	else if (pool && path && identity)
		remove_volume(removing->host, pool, path, &removing->error);
	else if (!pool && path && !identity)
		image_remove_intended(&move->shell, move->addresses[MOVE_DESTINATION], path, token,
				      &removing->error);
	else if (!pool && path)
		image_remove(&move->shell, move->addresses[MOVE_DESTINATION], path, identity,
			     &removing->error);
	/* it may still have its own name beside */
	if (!pool && path && identity && token)
		image_settle(&move->shell, move->addresses[MOVE_DESTINATION], path, token, NULL);
}

static bool remove_one(struct move *move, struct host *host, JsonObject *image)
{
	struct removing removing = { move, host, image, NULL };
	move_call(move, call_remove, &removing);
	if (!removing.error)
		return true;
	g_autofree char *what = error_what(removing.error);
	const char *secret = json_get_string(image, "secret", NULL);
	move_note(move, true,
		  secret ? _("The new secret %s at the destination is not removed: %s")
			 : _("The new image %s at the destination is not removed: %s"),
		  secret ? secret : json_get_string(image, "path", "?"), what);
	g_clear_error(&removing.error);
	return false;
}

void images_remove(struct move *move, struct host *destination)
{
	bool good = true;
	if (!move->images)
		return;
	for (guint i = 0; i < json_array_get_length(move->images); i++) {
		JsonNode *node = json_array_get_element(move->images, i);
		if (JSON_NODE_HOLDS_OBJECT(node))
			good &= remove_one(move, destination, json_node_get_object(node));
	}
	if (good)
		stage_note_done(move, STAGE_IMAGES_REMOVED);
	move->acted = true;
	g_clear_pointer(&move->images, json_array_unref);
}
