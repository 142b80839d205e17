/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of the old images. See disk_after.h. */
#include "conductor/disks/disk_after.h"

#include "conductor/files/files.h"

#include "base/i18n.h"
#include "host/disk_use.h"
#include "host/image.h"

struct clearing {
	struct journey *journey;
	struct host *source;
	const struct journey_disk *disk;
	GError *error;
};

static bool stays(GError **error, const char *why)
{
	return error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s", why);
}

/* Every reason to leave it alone, most of all that somebody may still use it. */
static bool may_go(struct clearing *clearing)
{
	struct journey *journey = clearing->journey;
	const struct journey_report *report = journey->report;
	const struct journey_disk *disk = clearing->disk;
	GError **error = &clearing->error;
	if (disk->disk->source != DISK_FILE)
		return stays(error, _("it is a block device"));
	if (!disk->agreed || !report->stream_agreed)
		return stays(error, _("the movers did not prove that the copy is the same"));
	if (g_strcmp0(report->sides[JOURNEY_SOURCE].vm_state, "absent") != 0)
		return stays(error, _("the VM is still defined at the source"));
	if (!clearing->source)
		return stays(error, _("the source does not answer"));
	g_autofree char *user = disk_use_find(&journey->shell, clearing->source, disk->disk->path,
					      NULL, &clearing->error);
	if (user)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL, _("the VM “%s” uses it"),
				 user);
	return !clearing->error;
}

static void call_clear(void *data)
{
	struct clearing *clearing = data;
	struct journey *journey = clearing->journey;
	if (may_go(clearing))
		image_remove(&journey->shell, journey->addresses[JOURNEY_SOURCE],
			     clearing->disk->disk->path, NULL, &clearing->error);
}

static void clear_one(struct journey *journey, struct host *source, const struct journey_disk *disk)
{
	struct clearing clearing = { journey, source, disk, NULL };
	journey_call(journey, call_clear, &clearing);
	if (!clearing.error) {
		journey_note(journey, true, _("The old image %s is removed from the source."),
			     disk->disk->path);
		return;
	}
	g_autofree char *what = error_what(clearing.error);
	journey_note(journey, true, _("The old image %s stays at the source: %s."),
		     disk->disk->path, what);
	g_clear_error(&clearing.error);
}

void disk_after_move(struct journey *journey, struct host *source)
{
	files_after_move(journey);
	GPtrArray *disks = journey->report->disks;
	for (guint i = 0; disks && i < disks->len; i++) {
		const struct journey_disk *disk = disks->pdata[i];
		if (disk->kind == JOURNEY_DISK_CARRIED)
			journey_note(journey, true, _("The file of %s stays at the source: %s"),
				     disk->disk->target, disk->disk->path);
		if (disk->kind != JOURNEY_DISK_COPIED)
			continue;
		if (journey->request->remove_source_disks)
			clear_one(journey, source, disk);
		else
			journey_note(journey, true,
				     _("The old image of %s lies unused at the source: %s"),
				     disk->disk->target, disk->disk->path);
	}
}
