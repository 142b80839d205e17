/* SPDX-License-Identifier: Apache-2.0 */
/* The images that are about to be copied. See disk_image.h. */
#include "conductor/disks/disk_image.h"

#include "conductor/disks/disk_key.h"

#include "base/i18n.h"
#include "host/image.h"

static bool cannot_copy(const struct move_disk *disk, const char *next, const char *why,
			GError **error)
{
	return error_set(error, WATARI_ERROR_REFUSED, next,
			 _("the disk %s (%s) cannot be copied: %s"), disk->disk->target,
			 disk->disk->path, why);
}

static bool judge_image(const struct move_disk *disk, const struct image *top, GError **error)
{
	bool known = g_str_equal(top->format, "raw") || g_str_equal(top->format, "qcow2");
	if (!known)
		return cannot_copy(disk, _("Convert it to qcow2 first (qemu-img convert)."),
				   _("only raw and qcow2 images are"), error);
	if (top->corrupt)
		return cannot_copy(disk,
				   _("Repair it while the VM is off (qemu-img check -r all)."),
				   _("it is marked as damaged"), error);
	if (disk->disk->several)
		return cannot_copy(disk, _("Put it on shared storage."),
				   _("several VMs may write to it"), error);
	return true;
}

static bool is_encrypted(const struct move_disk *disk, const struct image *top)
{
	return top->encrypted || disk->disk->encryption;
}

/* Under a running VM: its QEMU gives what is decrypted, and that there encrypts it again. */
static bool judge_inside(struct move *move, const struct move_disk *disk, const struct image *top,
			 GError **error)
{
	bool encrypted = is_encrypted(disk, top);
	struct image_key key = { 0 };
	if (top->snapshots)
		return cannot_copy(disk,
				   _("Move the VM while it is off (--offline), which takes them "
				     "along; or delete them (virsh snapshot-delete), or use shared "
				     "storage."),
				   _("it holds snapshots, which would be lost"), error);
	if (encrypted && (g_strcmp0(disk->disk->encryption, "luks") != 0 || !disk->disk->secret))
		return cannot_copy(disk,
				   _("Move the VM while it is off (--offline), or put the disk on "
				     "shared storage."),
				   _("it is encrypted in a way for which no copy can be made"),
				   error);
	if (!encrypted)
		return true;
	bool good = disk_key_read(move, disk, &key, error);
	image_key_clear(&key);
	return good;
}

/* Of a VM that is off the file itself is copied, with all that is in it. */
static bool take_whole(struct move *move, struct move_disk *disk, const GPtrArray *chain,
		       GError **error)
{
	enum { SECTOR = 512 };
	struct image_place place;
	if (chain->len > 1)
		return cannot_copy(disk,
				   _("Put it on shared storage, or merge it with what it "
				     "stands on (qemu-img rebase -b \"\")."),
				   _("it is encrypted or holds snapshots, and stands on another "
				     "image"),
				   error);
	if (!image_look(&move->shell, move->addresses[MOVE_SOURCE], disk->disk->path, &place,
			error))
		return false;
	disk->whole = true;
	disk->size = (place.size + SECTOR - 1) / SECTOR * SECTOR;
	return true;
}

/* The format of a new image is that of the old one, but a block device holds the bare content. */
static void take_chain(struct move_disk *disk, GPtrArray *chain)
{
	const struct image *top = chain->pdata[0];
	g_autoptr(GStrvBuilder) paths = g_strv_builder_new(), formats = g_strv_builder_new();
	for (guint i = 0; i < chain->len; i++) {
		const struct image *image = chain->pdata[i];
		disk->allocated += image->allocated;
		g_strv_builder_add(paths, image->path);
		g_strv_builder_add(formats, image->format);
	}
	g_strfreev(disk->source_chain);
	disk->source_chain = g_strv_builder_end(paths);
	g_strfreev(disk->source_formats);
	disk->source_formats = g_strv_builder_end(formats);
	if (disk->disk->source == DISK_BLOCK || disk->allocated > disk->size)
		disk->allocated = disk->size;
	disk->format = g_strdup(top->format);
	disk->traits = top->traits;
	disk->allocate = disk->disk->source == DISK_FILE && g_str_equal(top->format, "raw") &&
			 top->allocated >= top->size;
}

/* QEMU opens the image anew when the mirror ends, and ends itself if it may not. That a file changed
 * hands happens where libvirt does not know that a file system is shared: it gives the file back to
 * its first owner when the VM has left. */
static bool check_owner(struct move *move, const struct move_disk *disk, GError **error)
{
	const struct host *host = move->hosts[MOVE_SOURCE];
	bool usable = true;
	if (disk->disk->source != DISK_FILE || move->offline)
		return true;
	if (!image_try_open(&move->shell, host->address, disk->disk->path, host->qemu_uid,
			    host->qemu_gid, &usable, error))
		return false;
	if (usable)
		return true;
	g_autofree char *next = g_strdup_printf(_("Give it back to QEMU: chown %d:%d %s"),
						host->qemu_uid, host->qemu_gid, disk->disk->path);
	return cannot_copy(disk, next,
			   _("QEMU's user may not open it any more, and QEMU would end when the "
			     "copy is done"),
			   error);
}

/* Each link must be there under its name; what is in it is compared by phase_disks. */
static bool find_kept(struct move *move, const struct move_disk *disk, GError **error)
{
	struct image_place place;
	for (char **path = disk->source_chain + 1; *path; path++) {
		if (!image_look(&move->shell, move->addresses[MOVE_DESTINATION], *path, &place,
				error))
			return false;
		if (!place.exists)
			return error_set(error, WATARI_ERROR_REFUSED,
					 _("Copy it there, or leave --keep-backing out."),
					 _("%s has no %s, which the disk %s stands on"),
					 move->hosts[MOVE_DESTINATION]->name, *path,
					 disk->disk->target);
	}
	return true;
}

/* The format is the one in which QEMU reads it at the source, and each further one is named in a
 * header that the destination's QEMU reads. */
static bool keep_backing(struct move *move, struct move_disk *disk, const struct image *backing,
			 GError **error)
{
	if (!move->request->keep_backing || !backing)
		return true;
	if (!find_kept(move, disk, error))
		return false;
	g_autoptr(GPtrArray) there =
		image_read_chain(&move->shell, move->addresses[MOVE_DESTINATION], backing->path,
				 backing->format, NULL, error);
	if (!there)
		return false;
	if (((const struct image *) there->pdata[0])->size != backing->size)
		return error_set(error, WATARI_ERROR_REFUSED,
				 _("Copy the right one there, or leave --keep-backing out."),
				 _("%s at %s is another one than at the source"), backing->path,
				 move->hosts[MOVE_DESTINATION]->name);
	disk->backing = g_strdup(backing->path);
	disk->backing_format = g_strdup(backing->format);
	return true;
}

static bool read_image(struct move *move, struct move_disk *disk, GPtrArray *losses, GError **error)
{
	virDomainBlockInfo info;
	if (virDomainGetBlockInfo(move->domain, disk->disk->target, &info, 0) < 0)
		return host_error(error, WATARI_ERROR_REFUSED, NULL, disk->disk->target);
	disk->size = info.capacity;
	/* QEMU was told what libvirt says; of an image that no QEMU has open nobody was told */
	struct image_told told = { disk->disk->backing, disk->disk->backing_formats };
	g_autoptr(GPtrArray) chain =
		image_read_chain(&move->shell, move->addresses[MOVE_SOURCE], disk->disk->path,
				 disk->disk->format, move->offline ? NULL : &told, error);
	if (!chain) {
		error_prefix(error, _("the disk %s (%s)"), disk->disk->target, disk->disk->path);
		error_classify(error, WATARI_ERROR_REFUSED,
			       _("The image must still be at the source under its name, and "
				 "qemu-img installed there (package qemu-utils, or qemu-img)."));
		return false;
	}
	if (!judge_image(disk, chain->pdata[0], error) || !check_owner(move, disk, error))
		return false;
	const struct image *top = chain->pdata[0];
	bool inside = top->snapshots || is_encrypted(disk, top);
	if (inside && !(move->offline ? take_whole(move, disk, chain, error)
				      : judge_inside(move, disk, top, error)))
		return false;
	disk->encrypted = inside && !move->offline;
	take_chain(disk, chain);
	if (!disk->whole)
		check_image_losses(losses, disk->disk->target, top, move->offline != NULL);
	return keep_backing(move, disk, chain->len > 1 ? chain->pdata[1] : NULL, error);
}

bool disk_image_read(struct move *move, struct move_disk *disk, GPtrArray *losses, GError **error)
{
	return read_image(move, disk, losses, error);
}
