/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of the old images. See disk_after.h. */
#include "conductor/disks/disk_after.h"

#include "conductor/disks/files.h"

#include "base/i18n.h"
#include "host/disk_use.h"
#include "host/image.h"

struct clearing {
	struct move *move;
	struct host *source;
	const struct move_disk *disk;
	GError *error;
};

static bool stays(GError **error, const char *why)
{
	return error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s", why);
}

/* Every reason to leave it alone, most of all that somebody may still use it. */
static bool may_go(struct clearing *clearing)
{
	struct move *move = clearing->move;
	const struct move_report *report = move->report;
	const struct move_disk *disk = clearing->disk;
	GError **error = &clearing->error;
	if (disk->disk->source != DISK_FILE)
		return stays(error, _("it is a block device"));
	if (!disk->agreed || !report->stream_agreed)
		return stays(error, _("the movers did not prove that the copy is the same"));
	if (g_strcmp0(report->sides[MOVE_SOURCE].vm_state, "absent") != 0)
		return stays(error, _("the VM is still defined at the source"));
	if (!clearing->source)
		return stays(error, _("the source does not answer"));
	g_autofree char *user = disk_use_find(&move->shell, clearing->source, disk->disk->path,
					      NULL, &clearing->error);
	if (user)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL, _("the VM “%s” uses it"),
				 user);
	return !clearing->error;
}

static void call_clear(void *data)
{
	struct clearing *clearing = data;
	struct move *move = clearing->move;
	if (may_go(clearing))
		image_remove(&move->shell, move->addresses[MOVE_SOURCE], clearing->disk->disk->path,
			     NULL, &clearing->error);
}

static void clear_one(struct move *move, struct host *source, const struct move_disk *disk)
{
	struct clearing clearing = { move, source, disk, NULL };
	move_call(move, call_clear, &clearing);
	if (!clearing.error) {
		move_note(move, true, _("The old image %s is removed from the source."),
			  disk->disk->path);
		return;
	}
	g_autofree char *what = error_what(clearing.error);
	move_note(move, true, _("The old image %s stays at the source: %s."), disk->disk->path,
		  what);
	g_clear_error(&clearing.error);
}

void disk_after_move(struct move *move, struct host *source)
{
	files_after_move(move);
	GPtrArray *disks = move->report->disks;
	for (guint i = 0; disks && i < disks->len; i++) {
		const struct move_disk *disk = disks->pdata[i];
		if (disk->kind == MOVE_DISK_CARRIED)
			move_note(move, true, _("The file of %s stays at the source: %s"),
				  disk->disk->target, disk->disk->path);
		if (disk->kind != MOVE_DISK_COPIED)
			continue;
		if (move->request->remove_source_disks)
			clear_one(move, source, disk);
		else
			move_note(move, true,
				  _("The old image of %s lies unused at the source: %s"),
				  disk->disk->target, disk->disk->path);
	}
}
