/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are copied before the move. See files.h. */
#include "conductor/disks/files.h"

#include "conductor/core/part.h"

#include "conductor/disks/images.h"

#include "base/i18n.h"
#include "base/json.h"
#include "base/unit.h"
#include "host/transfer.h"
#include "conductor/disks/file.h"

#include <libvirt/libvirt.h>

enum { TICK_MS = 200 };

/* ---- the list ---- */

static void free_file(gpointer data)
{
	struct move_file *file = data;
	g_free(file->target);
	g_free(file->path);
	g_free(file->destination);
	g_free(file->kept);
	g_free(file);
}

struct move_file *file_new(struct move *move, const char *target, const char *path,
			   const char *destination)
{
	struct move_file *file = g_new0(struct move_file, 1);
	if (!move->files)
		move->files = g_ptr_array_new_with_free_func(free_file);
	file->target = g_strdup(target);
	file->path = g_strdup(path);
	file->destination = g_strdup(destination);
	g_ptr_array_add(move->files, file);
	return file;
}

static void files_free(struct move *move)
{
	g_clear_pointer(&move->files, g_ptr_array_unref);
	g_clear_pointer(&move->private_files, json_array_unref);
}

static bool is_listed(struct move *move, const char *path)
{
	for (guint i = 0; move->files && i < move->files->len; i++)
		if (g_str_equal(((struct move_file *) move->files->pdata[i])->path, path))
			return true;
	return false;
}

bool files_are_of_system(const char *path)
{
	return g_str_has_prefix(path, "/usr/") && !g_str_has_prefix(path, "/usr/local/");
}

bool files_stay(const struct move_request *request)
{
	return request->disks == MOVE_DISKS_SHARED || request->through;
}

bool files_add(struct move *move, const char *target, const char *path, const char *destination,
	       GError **error)
{
	const char *there = move->hosts[MOVE_DESTINATION]->name;
	if (files_stay(move->request))
		return error_set(error, WATARI_ERROR_REFUSED,
				 move->through
					 ? _("Copy it there under the same path, or move the VM "
					     "over the network (without --through).")
					 : _("Leave --disks shared out, and it is copied."),
				 _("%s has no %s, which the VM reads"), there, path);
	if (files_are_of_system(path))
		return error_set(error, WATARI_ERROR_REFUSED,
				 _("Install the package there that it belongs to."),
				 _("%s has no %s, which the VM reads"), there, path);
	if (!is_listed(move, path))
		file_new(move, target, path, destination);
	return true;
}

/* ---- can it go there? ---- */

struct looking {
	struct move *move;
	struct move_file *file;
	struct image_place places[MOVE_SIDES];
	GError *error;
};

static bool judge_source(const struct looking *looking, GError **error)
{
	const struct image_place *here = &looking->places[MOVE_SOURCE];
	const struct move_file *file = looking->file;
	if (here->exists && !here->block && (here->size > 0 || file->directory))
		return true;
	return error_set(error, WATARI_ERROR_REFUSED,
			 _("Eject it (virsh change-media VM DISK --eject), or detach it."),
			 _("%s, which the VM reads as %s, cannot be copied: it is no file at the "
			   "source (any more)"),
			 file->path, file->target);
}

static bool no_directory_for_file(const struct looking *looking, GError **error)
{
	struct move *move = looking->move;
	g_autofree char *directory = g_path_get_dirname(looking->file->destination);
	bool disk = move_disk_find(move->report->disks, looking->file->target) != NULL;
	g_autofree char *next =
		disk ? g_strdup_printf(_("Make it there, or name another place: --disk %s=PLACE."),
				       looking->file->target)
		     : g_strdup(_("Make it there."));
	return error_set(error, WATARI_ERROR_REFUSED, next, _("%s has no directory %s for %s (%s)"),
			 move->hosts[MOVE_DESTINATION]->name, directory, looking->file->path,
			 looking->file->target);
}

static bool is_file_there(const struct looking *looking, GError **error)
{
	return error_set(error, WATARI_ERROR_REFUSED,
			 _("Nothing is ever overwritten: remove it if nobody needs it, or name "
			   "another place."),
			 _("at %s there is already something at %s, where %s would go"),
			 looking->move->hosts[MOVE_DESTINATION]->name, looking->file->destination,
			 looking->file->target);
}

static bool no_room(const struct looking *looking, GError **error)
{
	g_autofree char *need = unit_format_bytes(looking->places[MOVE_SOURCE].size);
	g_autofree char *room = unit_format_bytes(looking->places[MOVE_DESTINATION].room);
	return error_set(error, WATARI_ERROR_REFUSED, _("Make room there."),
			 _("%s needs %s at %s, where %s are free"), looking->file->destination,
			 need, looking->move->hosts[MOVE_DESTINATION]->name, room);
}

static bool judge_places(struct looking *looking, GError **error)
{
	const struct image_place *there = &looking->places[MOVE_DESTINATION];
	struct move_file *file = looking->file;
	if (!judge_source(looking, error))
		return false;
	file->size = looking->places[MOVE_SOURCE].size;
	if (!there->directory && !file->directory)
		return no_directory_for_file(looking, error);
	if (there->exists && !file->keep)
		return is_file_there(looking, error);
	if (there->exists)
		file->kept = g_strdup_printf("%s.before-%.8s", file->destination,
					     looking->move->report->id);
	return !there->directory || there->room >= file->size || no_room(looking, error);
}

static void call_look_at_files(void *data)
{
	struct looking *looking = data;
	struct move *move = looking->move;
	const char *const paths[] = { looking->file->path, looking->file->destination };
	for (int side = 0; side < MOVE_SIDES && !looking->error; side++)
		image_look(&move->shell, move->addresses[side], paths[side], &looking->places[side],
			   &looking->error);
	if (!looking->error)
		judge_places(looking, &looking->error);
}

/* The disk that is such a file has its numbers in the report. */
static void take_size(struct move *move, const struct move_file *file)
{
	struct move_disk *disk = move_disk_find(move->report->disks, file->target);
	if (!disk || disk->kind != MOVE_DISK_CARRIED ||
	    g_strcmp0(disk->disk->path, file->path) != 0)
		return;
	disk->size = disk->allocated = file->size;
}

static void describe_files(struct move *move)
{
	g_clear_pointer(&move->report->files, json_array_unref);
	move->report->files = json_array_new();
	for (guint i = 0; move->files && i < move->files->len; i++) {
		const struct move_file *file = move->files->pdata[i];
		JsonObject *object = json_object_new();
		json_set_text(object, "what", file->target);
		json_set_text(object, "source", file->path);
		json_set_text(object, "destination", file->destination);
		json_object_set_int_member(object, "size", (gint64) file->size);
		json_object_set_int_member(object, "bytes", (gint64) file->sent);
		json_array_add_object_element(move->report->files, object);
	}
}

uint64_t files_size(const struct move *move)
{
	uint64_t size = 0;
	for (guint i = 0; move->files && i < move->files->len; i++)
		size += ((const struct move_file *) move->files->pdata[i])->size;
	return size;
}

bool files_prepare(struct move *move, GError **error)
{
	for (guint i = 0; move->files && i < move->files->len; i++) {
		struct looking looking = { .move = move, .file = move->files->pdata[i] };
		move_call(move, call_look_at_files, &looking);
		if (looking.error) {
			g_propagate_error(error, looking.error);
			return false;
		}
		take_size(move, looking.file);
	}
	describe_files(move);
	return true;
}

/* ---- copying ---- */

struct copying {
	struct move *move;
	struct move_file *file;
	struct transfer transfer;
	GError *error;
	int done; /* atomic */
};

static void call_begin_files(void *data)
{
	struct copying *copying = data;
	struct move *move = copying->move;
	const struct move_file *file = copying->file;
	if (file->kept && !image_set_aside(&move->shell, move->addresses[MOVE_DESTINATION],
					   file->destination, file->kept, &copying->error))
		return;
	transfer_begin(&copying->transfer, &copying->error);
}

static gpointer finish(gpointer data)
{
	struct copying *copying = data;
	transfer_finish(&copying->transfer, &copying->error);
	g_atomic_int_set(&copying->done, 1);
	g_main_context_wakeup(NULL);
	return NULL;
}

/* It was begun, but may not stay. */
static void call_give_up(void *data)
{
	struct copying *copying = data;
	g_atomic_int_set(&copying->transfer.stop, 1);
	transfer_finish(&copying->transfer, NULL);
}

static bool are_files_done(void *data)
{
	return g_atomic_int_get(&((struct copying *) data)->done);
}

/* The thread is never left behind: a cancel ends it soon. */
static void finish_watched(struct copying *copying)
{
	struct move *move = copying->move;
	GThread *thread = g_thread_new("file", finish, copying);
	while (!are_files_done(copying)) {
		bool cancelled = move->cancelled;
		move->cancelled = false;
		move_wait(move, are_files_done, copying, TICK_MS, NULL);
		move->cancelled |= cancelled;
		g_atomic_int_set(&copying->transfer.stop, move->cancelled);
		move_show_progress(move);
	}
	g_thread_join(thread);
}

static void take_copied(struct copying *copying)
{
	struct move *move = copying->move;
	struct move_disk *disk = move_disk_find(move->report->disks, copying->file->target);
	copying->file->sent = copying->transfer.bytes;
	if (disk && disk->kind == MOVE_DISK_CARRIED) {
		disk->literal += copying->transfer.bytes;
		disk->agreed = true;
	}
	if (copying->file->kept)
		move_note(move, true, _("Another %s lay at the destination; it is kept as %s."),
			  copying->file->destination, copying->file->kept);
}

static bool copy_file(struct move *move, struct move_file *file, GError **error)
{
	const struct host *there = move->hosts[MOVE_DESTINATION];
	struct copying copying = { .move = move, .file = file };
	copying.transfer = (struct transfer){ .shell = &move->shell,
					      .source = move->addresses[MOVE_SOURCE],
					      .destination = move->addresses[MOVE_DESTINATION],
					      .path = file->path,
					      .path_there = file->destination,
					      .directory = file->directory,
					      .changes = file->changes,
					      .uid = there->qemu_uid,
					      .gid = there->qemu_gid,
					      .rate = move->request->bandwidth };
	const struct images_intent intent = { .path = file->destination, .kept = file->kept };
	unsigned noted = 0;
	if (!images_note_intent(move, &intent, &noted, error))
		return false;
	move_call(move, call_begin_files, &copying);
	bool written = images_note_made(move, noted, copying.transfer.identity,
					copying.error ? NULL : &copying.error);
	if (written && !copying.error)
		finish_watched(&copying);
	else if (copying.transfer.identity)
		move_call(move, call_give_up, &copying);
	g_free(copying.transfer.identity);
	if (!copying.error) {
		take_copied(&copying);
		return true;
	}
	error_prefix(&copying.error, _("%s (%s)"), file->path, file->target);
	g_propagate_error(error, copying.error);
	return false;
}

bool files_copy(struct move *move, GError **error)
{
	bool good = true;
	if (move->files && move->files->len > 0)
		move_say(move, _("copying what the VM reads"));
	for (guint i = 0; good && move->files && i < move->files->len; i++)
		good = move_check_cancel(move, error) &&
		       copy_file(move, move->files->pdata[i], error);
	describe_files(move);
	return good;
}

const struct part files_part = { .name = "files", .clear = files_free };
