/* SPDX-License-Identifier: Apache-2.0 */
/* The disks that are copied: what they are, their images at the destination, and the movers told. */
#include "conductor/disks/disk_image.h"
#include "conductor/disks/disk_key.h"
#include "conductor/disks/disk_params.h"
#include "conductor/disks/disk_place.h"
#include "conductor/disks/disk_rate.h"
#include "conductor/disks/disk_watch.h"
#include "conductor/disks/files.h"
#include "conductor/disks/images.h"
#include "conductor/core/movers.h"
#include "conductor/disks/seeds.h"
#include "conductor/disks/share.h"

#include "base/i18n.h"
#include "host/belongings/belongings.h"
#include "base/json.h"
#include "base/unit.h"
#include "control/messages.h"

enum { READY_MS = 30000, METADATA = 1 << 20 };

/* What the threads work on: one disk, or all of them. */
struct preparing {
	struct move *move;
	struct move_disk *disk;
	struct image_place *places; /* of all disks */
	char **pools;               /* of all disks: that makes the volume; NULL: none */
	guint index;
	char *identity;
	double write_rate;
	GPtrArray *losses; /* findings about what the copies will not have */
	GError *error;
};

static struct move_disk *disk_at(struct move *move, guint index)
{
	struct move_disk *disk = move->report->disks->pdata[index];
	return disk->kind == MOVE_DISK_COPIED ? disk : NULL;
}

/* ---- where it goes ---- */

/* Disks that go to one file system share its room. */
static bool check_room(struct preparing *preparing, guint index, GError **error)
{
	struct move *move = preparing->move;
	const struct image_place *place = &preparing->places[index];
	uint64_t needed = 0;
	for (guint i = 0; i <= index; i++) {
		const struct move_disk *other = disk_at(move, i);
		if (other && !other->block && !preparing->pools[i] &&
		    g_str_equal(preparing->places[i].filesystem, place->filesystem))
			needed += other->allocated + METADATA;
	}
	const struct move_disk *disk = disk_at(move, index);
	if (disk->block || preparing->pools[index] || needed <= place->room)
		return true;
	g_autofree char *need = unit_format_bytes(needed), *room = unit_format_bytes(place->room);
	g_autofree char *directory = g_path_get_dirname(disk->destination);
	g_autofree char *next = g_strdup_printf(
		_("Make room there, or name another place: --disk %s=PLACE."), disk->disk->target);
	return error_set(error, WATARI_ERROR_REFUSED, next,
			 _("the disks need %s in %s at %s, where %s are free"), need, directory,
			 move->hosts[MOVE_DESTINATION]->name, room);
}

/* There is no file there that could be made as it must be. */
static bool refuse_block(const struct move_disk *disk, GError **error)
{
	return error_set(error, WATARI_ERROR_REFUSED,
			 _("Name a file with --disk, or put the disk on shared storage."),
			 _("the disk %s is encrypted or holds snapshots, and is copied into a file "
			   "only"),
			 disk->disk->target);
}

static void call_prepare(void *data)
{
	struct preparing *preparing = data;
	struct move *move = preparing->move;
	bool good = true;
	if (!move->offline)
		disk_watch_ask(move->domain, move->report->disks, &move->disks_before);
	for (guint i = 0; good && i < move->report->disks->len; i++) {
		struct move_disk *disk = disk_at(move, i);
		if (!disk)
			continue;
		good = disk_image_read(move, disk, preparing->losses, &preparing->error) &&
		       disk_place_find(move, disk, &preparing->places[i], &preparing->pools[i],
				       &preparing->error) &&
		       check_room(preparing, i, &preparing->error);
		if (good && disk->block && (disk->encrypted || disk->whole))
			good = refuse_block(disk, &preparing->error);
		if (disk->block) {
			g_free(disk->format);
			disk->format = g_strdup("raw");
		}
	}
	if (good)
		preparing->write_rate = disk_rate_under_cap(move);
}

static bool refuse_external(struct move *move, GError **error)
{
	return error_set(
		error, WATARI_ERROR_REFUSED,
		belonging_advise_snapshots(move->domain, move->hosts[MOVE_SOURCE]->libvirt_version),
		_("“%s” has snapshots, and disks that must be copied: a copy has only the "
		  "present content"),
		move->report->vm_name);
}

/* Their descriptions would name images that stay behind. Those inside an image travel with its file, under its old
 * name. */
static bool check_snapshots(struct move *move, GError **error)
{
	bool off = move->offline != NULL;
	if (virDomainSnapshotNum(move->domain, VIR_DOMAIN_SNAPSHOT_LIST_EXTERNAL) > 0)
		return refuse_external(move, error);
	if (virDomainSnapshotNum(move->domain, 0) <= 0 || (off && !move->request->disk_places[0]))
		return true;
	return error_set(error, WATARI_ERROR_REFUSED,
			 off ? _("Leave --disk out: the snapshots' descriptions name the disks' "
				 "old places.")
			     : _("Move it while it is off (--offline), which takes them along; or "
				 "delete them (virsh snapshot-delete), or use shared storage."),
			 _("“%s” has snapshots, and disks that must be copied: a copy has only the "
			   "present content"),
			 move->report->vm_name);
}

/* libvirt mirrors either all disks whole or only the top image of each. */
static bool check_mixture(struct move *move, GError **error)
{
	bool kept = false, whole = false;
	for (guint i = 0; i < move->report->disks->len; i++) {
		const struct move_disk *disk = disk_at(move, i);
		kept |= disk && disk->backing;
		whole |= disk && disk->block && disk->source_chain[0] && disk->source_chain[1];
	}
	if (!kept || !whole)
		return true;
	return error_set(error, WATARI_ERROR_REFUSED,
			 _("Leave --keep-backing out, or name a file for each of them."),
			 _("libvirt cannot copy only the top image of one disk and the whole of "
			   "another, which goes to a block device"));
}

/* A copy of only the top image is as good as what it stands on there. */
static bool prove_kept(struct move *move, GError **error)
{
	bool good = true;
	for (guint i = 0; good && i < move->report->disks->len; i++) {
		const struct move_disk *disk = disk_at(move, i);
		char **path = disk && disk->backing ? disk->source_chain + 1 : NULL;
		for (; good && path && *path; path++)
			good = **path != '/' ||
			       share_prove_readable(move, disk->disk->target, *path, NULL, error);
	}
	return good;
}

/* ---- making it ---- */

static void call_make(void *data)
{
	struct preparing *preparing = data;
	struct move *move = preparing->move;
	struct move_disk *disk = preparing->disk;
	const struct host *host = move->hosts[MOVE_DESTINATION];
	const char *pool = preparing->pools[preparing->index];
	if (pool) {
		if (disk_place_make_volume(move, disk, pool, &preparing->error))
			preparing->identity = g_strdup("volume");
		return;
	}
	struct image_key key = { 0 };
	if (disk->encrypted && !disk_key_read(move, disk, &key, &preparing->error))
		return;
	struct image_plan plan = {
		.token = move->report->id,
		.path = disk->destination,
		.format = disk->whole ? "raw" : disk->format,
		.key = disk->encrypted ? &key : NULL,
		.size = disk->size,
		.allocate = disk->allocate,
		.traits = disk->traits,
		.backing = disk->backing,
		.backing_format = disk->backing_format,
		.uid = host->qemu_uid,
		.gid = host->qemu_gid,
	};
	preparing->identity = image_create(&move->shell, move->addresses[MOVE_DESTINATION], &plan,
					   &preparing->error);
	image_key_clear(&key);
	/* what was never written to a bare LUKS is no zeros to who decrypts it */
	disk->fresh = preparing->identity && !disk->backing &&
		      !(disk->encrypted && g_str_equal(disk->format, "raw"));
}

/* (If that fails its second name stays; nothing else is wrong with it.) */
static void call_settle(void *data)
{
	struct preparing *preparing = data;
	struct move *move = preparing->move;
	image_settle(&move->shell, move->addresses[MOVE_DESTINATION], preparing->disk->destination,
		     move->report->id, NULL);
}

static bool make_disk(struct preparing *preparing, GError **error)
{
	struct move *move = preparing->move;
	struct move_disk *disk = preparing->disk;
	const char *pool = preparing->pools[preparing->index];
	disk->given = disk->block && !pool;
	if (disk->given)
		return true;
	const struct images_intent intent = { .path = disk->destination,
					      .pool = pool,
					      .token = pool ? NULL : move->report->id };
	unsigned noted = 0;
	if (!images_note_intent(move, &intent, &noted, error))
		return false;
	move_call(move, call_make, preparing);
	bool good = preparing->identity != NULL;
	bool written = images_note_made(move, noted, preparing->identity, good ? error : NULL);
	g_clear_pointer(&preparing->identity, g_free);
	if (good && written && !pool)
		move_call(move, call_settle, preparing);
	if (good)
		return written && move_check_cancel(move, error);
	error_classify(&preparing->error, WATARI_ERROR_REFUSED,
		       _("qemu-img must be installed at the destination (package qemu-utils, or "
			 "qemu-img), and "
			 "the directory writable."));
	g_propagate_error(error, preparing->error);
	return false;
}

static bool make_disks(struct preparing *preparing, GError **error)
{
	bool good = true;
	for (guint i = 0; good && i < preparing->move->report->disks->len; i++) {
		preparing->index = i;
		preparing->disk = disk_at(preparing->move, i);
		good = !preparing->disk || make_disk(preparing, error);
	}
	return good;
}

/* ---- the movers ---- */

static JsonObject *describe_disk(const struct move_disk *disk)
{
	JsonObject *object = json_object_new();
	g_autofree char *export = move_disk_export(disk);
	json_object_set_string_member(object, "target", disk->disk->target);
	json_object_set_string_member(object, "export", export);
	json_object_set_string_member(object, "path", disk->destination);
	json_object_set_string_member(object, "format", move_disk_written_as(disk));
	json_object_set_boolean_member(object, "fresh", disk->fresh);
	return object;
}

static JsonObject *describe_copied_disks(struct move *move)
{
	static const char *const modes[] = { "none", "full" };
	/* a part of a disk is not worth reading back */
	bool rehearsal = move->request->kind == MOVE_REHEARSAL;
	int verify = rehearsal ? MOVE_VERIFY_DISKS_NONE : move->request->verify_disks;
	JsonObject *message = dialogue_message(MESSAGE_DISKS);
	JsonArray *array = json_array_new();
	for (guint i = 0; i < move->report->disks->len; i++)
		if (disk_at(move, i) && disk_params_copies(move, disk_at(move, i)))
			json_array_add_object_element(array, describe_disk(disk_at(move, i)));
	json_object_set_array_member(message, "disks", array);
	if (move->request->disk_bandwidth)
		json_object_set_int_member(message, "rate", (gint64) move->request->disk_bandwidth);
	json_object_set_string_member(message, "verify", modes[verify]);
	return message;
}

static bool tell_mover(struct move *move, enum move_side side, GError **error)
{
	g_autoptr(JsonObject) ready = movers_ask(move, side, describe_copied_disks(move),
						 MESSAGE_DISKS_READY, READY_MS, error);
	if (!ready)
		return false;
	const char *socket = json_get_string(ready, "socket", "");
	if (!move->disks_socket)
		move->disks_socket = g_strdup(socket);
	if (g_str_equal(move->disks_socket, socket))
		return true;
	return error_set(error, WATARI_ERROR_REFUSED, NULL,
			 _("the movers chose different sockets: %s and %s"), move->disks_socket,
			 socket);
}

/* ---- the whole ---- */

static bool check_movers(struct move *move, GError **error)
{
	if (!move->request->verify_disks || movers_can(move, "verify-disks"))
		return true;
	return error_set(error, WATARI_ERROR_REFUSED,
			 _("Leave --verify-disks out: what is written is compared all the same."),
			 _("the movers of this version cannot read disks back"));
}

static void tell_losses(struct preparing *preparing)
{
	struct move *move = preparing->move;
	while (preparing->losses->len > 0)
		move_add_finding(move, g_ptr_array_steal_index(preparing->losses, 0));
}

static bool prepare_disks(struct preparing *preparing, GError **error)
{
	struct move *move = preparing->move;
	if (!check_movers(move, error) || !check_snapshots(move, error))
		return false;
	move_call(move, call_prepare, preparing);
	if (preparing->error) {
		g_propagate_error(error, preparing->error);
		return false;
	}
	tell_losses(preparing);
	disk_rate_decide(move, preparing->write_rate);
	/* a rehearsal's copy ends all the same, and it is held: no write of the VM may wait for that */
	move->sync_writes &= move->request->kind != MOVE_REHEARSAL;
	bool plan = move->request->kind == MOVE_PLAN; /* nothing is made */
	return check_mixture(move, error) && prove_kept(move, error) &&
	       move_check_cancel(move, error) && (plan || make_disks(preparing, error));
}

static bool is_any_copied(struct move *move)
{
	bool any = false;
	for (guint i = 0; i < move->report->disks->len; i++)
		any |= disk_params_copies(move, move->report->disks->pdata[i]);
	return any && move->request->kind != MOVE_PLAN;
}

static bool copy_disks(struct move *move, GError **error)
{
	guint count = move->report->disks->len;
	struct preparing preparing = { .move = move, .losses = check_new_findings() };
	preparing.places = g_new0(struct image_place, count);
	preparing.pools = g_new0(char *, count + 1);
	bool good = prepare_disks(&preparing, error) &&
		    (!is_any_copied(move) || (tell_mover(move, MOVE_DESTINATION, error) &&
					      tell_mover(move, MOVE_SOURCE, error)));
	for (guint i = 0; i < count; i++)
		g_free(preparing.pools[i]);
	g_free(preparing.pools);
	g_ptr_array_unref(preparing.losses);
	g_free(preparing.places);
	return good;
}

bool phase_disks(struct move *move, GError **error)
{
	bool copies = move_disks_count(move->report->disks, MOVE_DISK_COPIED) > 0;
	bool plan = move->request->kind == MOVE_PLAN;
	bool good = files_prepare(move, error) && (!copies || copy_disks(move, error)) &&
		    (plan || (files_copy(move, error) && seeds_tell(move, error)));
	if (!good)
		error_classify(error, WATARI_ERROR_REFUSED, NULL);
	return good;
}
