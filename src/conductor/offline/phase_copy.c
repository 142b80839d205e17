/* SPDX-License-Identifier: Apache-2.0 */
/* The disks of a VM that is off: qemu-img reads them at the source, into the mover's NBD server, and
 * QEMU's storage daemon has the new images at the destination. */
#include "conductor/core/movers.h"
#include "conductor/offline/offline.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/json.h"
#include "control/messages.h"
#include "host/storage.h"

enum { HOLD_MS = 20000, LOOK_MS = 200, ASK_MS = 1000, FINISH_MS = 60000, REASON_MS = 500 };

static const double rate_weight = 0.2; /* of each second */

/* ---- the locks ---- */

/* All that is read: the whole chains. */
static JsonArray *list_images(struct move *move)
{
	GPtrArray *disks = move->report->disks;
	JsonArray *paths = json_array_new();
	for (guint i = 0; i < disks->len; i++) {
		const struct move_disk *disk = disks->pdata[i];
		char **chain = disk->kind == MOVE_DISK_COPIED ? disk->source_chain : NULL;
		for (; chain && *chain; chain++)
			json_array_add_string_element(paths, *chain);
	}
	return paths;
}

static bool hold_images(struct move *move, GError **error)
{
	JsonObject *message = dialogue_message(MESSAGE_HOLD);
	json_object_set_array_member(message, "paths", list_images(move));
	g_autoptr(JsonObject) held =
		movers_ask(move, MOVE_SOURCE, message, MESSAGE_HELD, HOLD_MS, error);
	if (!held)
		return false;
	const char *reason = json_get_string(held, "reason", NULL);
	return !reason || error_set(error, WATARI_ERROR_FAILED,
				    _("See who uses it (fuser, lsof), and try again."),
				    _("the image %s cannot be kept from being written to: %s"),
				    json_get_string(held, "path", "?"), reason);
}

/* ---- the new images ---- */

static GPtrArray *describe_images(struct move *move)
{
	GPtrArray *disks = move->report->disks, *images = storage_images_new();
	for (guint i = 0; i < disks->len; i++) {
		const struct move_disk *disk = disks->pdata[i];
		if (disk->kind != MOVE_DISK_COPIED)
			continue;
		struct storage_image *image = g_new0(struct storage_image, 1);
		*image =
			(struct storage_image){ move_disk_export(disk), g_strdup(disk->destination),
						g_strdup(move_disk_written_as(disk)), disk->block,
						disk->slice };
		g_ptr_array_add(images, image);
	}
	return images;
}

struct serving {
	struct move *move;
	GError *error;
};

static void call_serve(void *data)
{
	struct serving *serving = data;
	struct move *move = serving->move;
	g_autoptr(GPtrArray) images = describe_images(move);
	g_auto(GStrv) helper = movers_helper(move, MOVE_DESTINATION);
	move->offline->storage = storage_serve(&move->shell, move->addresses[MOVE_DESTINATION],
					       (const char *const *) helper, move->disks_socket,
					       images, &serving->error);
}

static bool serve_images(struct move *move, GError **error)
{
	struct serving serving = { .move = move };
	move_call(move, call_serve, &serving);
	if (!serving.error)
		return move_check_cancel(move, error);
	error_prefix(&serving.error, "%s", move->hosts[MOVE_DESTINATION]->name);
	g_propagate_error(error, serving.error);
	return false;
}

/* ---- one disk ---- */

struct copying {
	struct move *move;
	const struct move_disk *disk;
	struct storage_copy *copy;
	uint64_t done_before; /* of other disks */
	uint64_t seen;        /* a second ago */
	int64_t seen_us;
	GError *error;
	bool good;
};

static void call_start(void *data)
{
	struct copying *copying = data;
	struct move *move = copying->move;
	const struct move_disk *disk = copying->disk;
	g_autofree char *export = move_disk_export(disk);
	g_auto(GStrv) helper = movers_helper(move, MOVE_SOURCE);
	const struct storage_source source = { .path = disk->disk->path,
					       .format = disk->whole ? "raw" : disk->disk->format,
					       .socket = move->disks_socket,
					       .export = export,
					       .fresh = disk->fresh,
					       .backing = disk->backing,
					       .backing_format = disk->backing_format };
	copying->copy = storage_copy_start(&move->shell, move->addresses[MOVE_SOURCE],
					   (const char *const *) helper, &source, &copying->error);
}

static void call_end_copy(void *data)
{
	struct copying *copying = data;
	copying->good = storage_copy_end(copying->copy, &copying->error);
}

static void show_copied(struct copying *copying, double part)
{
	struct move_progress *progress = &copying->move->progress;
	int64_t now_us = clock_now_us();
	double elapsed_s = (double) (now_us - copying->seen_us) / 1e6;
	progress->disk_done =
		copying->done_before + (uint64_t) (part * (double) copying->disk->size);
	if (elapsed_s * 1000 < ASK_MS)
		return;
	double rate = (double) (progress->disk_done - copying->seen) / elapsed_s;
	progress->rate += (rate - progress->rate) * rate_weight;
	copying->seen = progress->disk_done;
	copying->seen_us = now_us;
	uint64_t left = progress->disk_total - MIN(progress->disk_done, progress->disk_total);
	progress->left_ms =
		progress->rate > 0 ? (int64_t) ((double) left / progress->rate * 1000) : -1;
}

static bool has_reason(void *data)
{
	struct move *move = data;
	return move->mover_reason || movers_failure(move);
}

static bool is_copy_over(void *data)
{
	struct copying *copying = data;
	double part = 0;
	bool more = storage_copy_look(copying->copy, &part);
	show_copied(copying, part);
	return !more || has_reason(copying->move);
}

/* Every second the VM is looked at: it must stay off. */
static bool look_after(struct copying *copying, GError **error)
{
	struct move *move = copying->move;
	int64_t ask_ms = clock_now_ms() + ASK_MS;
	while (!move_wait(move, is_copy_over, copying, LOOK_MS, NULL)) {
		if (!move_check_cancel(move, error))
			return false;
		move_show_progress(move);
		if (clock_now_ms() < ask_ms)
			continue;
		if (!offline_check_off(move, error))
			return false;
		ask_ms = clock_now_ms() + ASK_MS;
	}
	return true;
}

/* What a mover says explains more than that qemu-img lost its connection, and may be on its way still. */
static void explain_copy_failure(struct copying *copying, GError **error)
{
	struct move *move = copying->move;
	move_wait(move, has_reason, move, REASON_MS, NULL);
	g_autofree char *tool = copying->error ? error_what(copying->error) : NULL;
	g_autofree char *mover = movers_failure(move) ? error_what(movers_failure(move))
						      : g_strdup(move->mover_reason);
	/* qemu-img reads here and writes to a socket, behind which is the other host */
	bool writing = tool && (strstr(tool, "nbd") || strstr(tool, "NBD"));
	g_autofree char *next = g_strdup_printf(
		writing ? _("See whether the disks of %s have room and can be written to.")
			: _("See whether the image can be read at %s."),
		move->hosts[writing ? MOVE_DESTINATION : MOVE_SOURCE]->name);
	error_set(error, WATARI_ERROR_FAILED, mover ? NULL : next,
		  _("the disk %s (%s) could not be copied: %s"), copying->disk->disk->target,
		  copying->disk->disk->path, mover ? mover : tool);
}

static bool copy_disk(struct copying *copying, GError **error)
{
	struct move *move = copying->move;
	copying->seen = copying->done_before;
	copying->seen_us = clock_now_us();
	move_call(move, call_start, copying);
	bool watched = copying->copy && look_after(copying, error);
	if (copying->copy)
		move_call(move, call_end_copy, copying);
	bool good = watched && copying->good && !movers_failure(move) && !move->mover_reason;
	if (!good && !*error)
		explain_copy_failure(copying, error);
	g_clear_error(&copying->error);
	return good;
}

static bool copy_all(struct move *move, GError **error)
{
	struct move_progress *progress = &move->progress;
	GPtrArray *disks = move->report->disks;
	struct copying copying = { .move = move };
	bool good = true;
	for (guint i = 0; i < disks->len; i++) {
		const struct move_disk *disk = disks->pdata[i];
		progress->disk_total += disk->kind == MOVE_DISK_COPIED ? disk->size : 0;
	}
	for (guint i = 0; good && i < disks->len; i++) {
		copying.disk = disks->pdata[i];
		if (copying.disk->kind != MOVE_DISK_COPIED)
			continue;
		good = copy_disk(&copying, error);
		copying.done_before += copying.disk->size;
	}
	progress->disk_total = progress->disk_done = 0;
	progress->left_ms = -1;
	return good;
}

/* ---- the movers' end ---- */

static bool is_released(void *data)
{
	return ((struct move *) data)->released || has_reason(data);
}

/* Flushed and proven disk by disk; and as after a memory's move, that nothing else went over. */
static bool finish_movers(struct move *move, GError **error)
{
	movers_tell(move, MOVE_SOURCE, dialogue_message(MESSAGE_FINISH));
	if (!move_wait(move, is_released, move, FINISH_MS, error))
		return false;
	if (move->released)
		return true;
	g_autofree char *failure = movers_failure(move) ? error_what(movers_failure(move)) : NULL;
	return error_set(error, WATARI_ERROR_FAILED, NULL, "%s",
			 move->mover_reason ? move->mover_reason : failure);
}

static bool all_agreed(struct move *move, GError **error)
{
	GPtrArray *disks = move->report->disks;
	for (guint i = 0; i < disks->len; i++) {
		const struct move_disk *disk = disks->pdata[i];
		if (disk->kind == MOVE_DISK_COPIED && !disk->agreed)
			return error_set(error, WATARI_ERROR_FAILED, NULL,
					 _("the movers did not prove that the copy of %s is the "
					   "same"),
					 disk->disk->target);
	}
	return true;
}

static bool copy(struct move *move, GError **error)
{
	if (!hold_images(move, error) || !offline_remember_images(move, error) ||
	    !offline_check_off(move, error) || !serve_images(move, error))
		return false;
	for (int side = MOVE_SIDES - 1; side >= 0; side--)
		movers_tell(move, side, dialogue_message(MESSAGE_START));
	return copy_all(move, error) && offline_check_source(move, error) &&
	       finish_movers(move, error) && all_agreed(move, error);
}

bool phase_copy(struct move *move, GError **error)
{
	bool copies = move->disks_socket != NULL;
	int64_t start_ms = clock_now_ms();
	move->performed = true;
	bool good = !copies || copy(move, error);
	move->report->migration_ms = MAX(clock_now_ms() - start_ms, 1);
	offline_end_storage(move);
	if (!good)
		error_classify(error, WATARI_ERROR_FAILED, NULL);
	return good;
}
