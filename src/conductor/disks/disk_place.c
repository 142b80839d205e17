/* SPDX-License-Identifier: Apache-2.0 */
/* Places at the destination. See disk_place.h. */
#include "conductor/disks/disk_place.h"

#include "base/i18n.h"
#include "base/unit.h"
#include "host/disk_use.h"
#include "host/xml.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define POOL "pool:"

/* ---- what the user said ---- */

static bool is_place_usable(const char *place)
{
	return *place == '/' || (g_str_has_prefix(place, POOL) && place[strlen(POOL)]);
}

static bool take_place(struct move *move, const char *text, GError **error)
{
	const char *equals = strchr(text, '=');
	g_autofree char *target = equals ? g_strndup(text, (gsize) (equals - text)) : NULL;
	if (!equals || !is_place_usable(equals + 1))
		return error_set(error, WATARI_ERROR_USAGE,
				 _("Write it like vda=/srv/web.qcow2 or vda=pool:images."),
				 _("“%s” says no disk and place"), text);
	struct move_disk *disk = move_disk_find(move->report->disks, target);
	if (!disk)
		return error_set(error, WATARI_ERROR_USAGE,
				 _("See “virsh domblklist VM” for the names of its disks."),
				 _("the VM has no disk “%s”"), target);
	bool file = disk->disk->source == DISK_FILE && equals[1] == '/';
	if (!disk->disk->path || (!disk->disk->writable && !file))
		return error_set(error, WATARI_ERROR_USAGE,
				 _("Files and block devices that the VM writes to are copied, and "
				   "files that it reads to a path."),
				 _("the disk %s cannot be copied"), target);
	disk->place = equals + 1;
	return true;
}

bool disk_places_read(struct move *move, GError **error)
{
	const char *const *places = move->request->disk_places;
	if (*places && move->request->disks == MOVE_DISKS_SHARED)
		return error_set(error, WATARI_ERROR_USAGE,
				 _("Leave one of them out: --disks shared copies nothing."),
				 _("--disks shared and --disk contradict each other"));
	for (; *places; places++) {
		if (!take_place(move, *places, error)) {
			error_prefix(error, "--disk");
			return false;
		}
	}
	return true;
}

/* ---- pools ---- */

static virStoragePoolPtr open_pool(struct move *move, const char *name, GError **error)
{
	struct host *host = move->hosts[MOVE_DESTINATION];
	virStoragePoolPtr pool = virStoragePoolLookupByName(host->connection, name);
	if (pool && virStoragePoolIsActive(pool) == 1)
		return pool;
	if (pool)
		virStoragePoolFree(pool);
	error_set(error, WATARI_ERROR_REFUSED, _("See “virsh pool-list --all” there."),
		  _("%s has no storage pool “%s”, or has not started it"), host->name, name);
	return NULL;
}

/* Pools whose volumes are files of a directory; libvirt's own volume would be no more than that. */
static bool read_directory(virStoragePoolPtr pool, char **directory, GError **error)
{
	static const char *const kinds[] = { "dir", "fs", "netfs", NULL };
	char *text = virStoragePoolGetXMLDesc(pool, 0);
	struct xml *xml = text ? xml_read(text, error) : NULL;
	if (!text)
		host_error(error, WATARI_ERROR_REFUSED, NULL, virStoragePoolGetName(pool));
	free(text);
	if (!xml)
		return false;
	g_autofree char *kind = xml_string(xml, NULL, "@type");
	*directory =
		kind && g_strv_contains(kinds, kind) ? xml_string(xml, NULL, "target/path") : NULL;
	xml_free(xml);
	return true;
}

static bool find_in_pool(struct move *move, struct move_disk *disk, char **volume_pool,
			 GError **error)
{
	const char *name = disk->place + strlen(POOL);
	g_autofree char *base = g_path_get_basename(disk->disk->path), *directory = NULL;
	virStoragePoolPtr pool = open_pool(move, name, error);
	bool good = pool && read_directory(pool, &directory, error);
	if (pool)
		virStoragePoolFree(pool);
	if (!good)
		return false;
	g_free(disk->destination);
	disk->destination = directory ? g_build_filename(directory, base, NULL) : g_strdup(base);
	*volume_pool = directory ? NULL : g_strdup(name);
	disk->block = !directory;
	return true;
}

static char *describe_volume(const struct move_disk *disk)
{
	g_autofree char *name = g_markup_escape_text(disk->destination, -1);
	return g_strdup_printf("<volume><name>%s</name>"
			       "<capacity unit='bytes'>%" G_GUINT64_FORMAT "</capacity></volume>",
			       name, disk->size);
}

/* Its size may have been rounded up. */
static void take_volume(struct move_disk *disk, virStorageVolPtr volume, const char *path)
{
	virStorageVolInfo info = { .capacity = 0 };
	virStorageVolGetInfo(volume, &info);
	g_free(disk->destination);
	disk->destination = g_strdup(path);
	disk->slice = info.capacity > disk->size ? disk->size : 0;
}

bool disk_place_make_volume(struct move *move, struct move_disk *disk, const char *name,
			    GError **error)
{
	virStoragePoolPtr pool = open_pool(move, name, error);
	if (!pool)
		return false;
	g_autofree char *xml = describe_volume(disk);
	virStorageVolPtr volume = virStorageVolCreateXML(pool, xml, 0);
	char *path = volume ? virStorageVolGetPath(volume) : NULL;
	if (!path)
		host_error(error, WATARI_ERROR_REFUSED,
			   _("See “virsh vol-list POOL” there, or name another place with "
			     "--disk."),
			   name);
	if (path)
		take_volume(disk, volume, path);
	bool good = path != NULL;
	free(path);
	if (volume)
		virStorageVolFree(volume);
	virStoragePoolFree(pool);
	return good;
}

/* ---- can it go there? ---- */

static bool no_directory(struct move *move, const struct move_disk *disk, GError **error)
{
	g_autofree char *directory = g_path_get_dirname(disk->destination);
	g_autofree char *next = g_strdup_printf(
		_("Make it there, or name another place: --disk %s=PLACE."), disk->disk->target);
	return error_set(error, WATARI_ERROR_REFUSED, next,
			 _("%s has no directory %s for the disk %s"),
			 move->hosts[MOVE_DESTINATION]->name, directory, disk->disk->target);
}

static bool is_image_there(struct move *move, const struct move_disk *disk, GError **error)
{
	g_autofree char *next = g_strdup_printf(
		_("Nothing is ever overwritten: remove it if nobody needs it, or name another "
		  "place: --disk %s=PLACE."),
		disk->disk->target);
	return error_set(error, WATARI_ERROR_REFUSED, next,
			 _("at %s there is already something at %s, where the disk %s would go"),
			 move->hosts[MOVE_DESTINATION]->name, disk->destination,
			 disk->disk->target);
}

static bool no_device(struct move *move, const struct move_disk *disk, GError **error)
{
	g_autofree char *next = g_strdup_printf(_("Make it there with at least %" PRIu64
						  " bytes and say that it may be overwritten: "
						  "--disk %s=%s; or name another place."),
						disk->size, disk->disk->target, disk->destination);
	return error_set(error, WATARI_ERROR_REFUSED, next,
			 _("the disk %s is a block device, and nothing says where it goes at %s"),
			 disk->disk->target, move->hosts[MOVE_DESTINATION]->name);
}

/* The same LUN may have another name there. */
static bool is_itself(struct move *move, const struct move_disk *disk,
		      const struct image_place *place)
{
	struct image_place here;
	return disk->disk->source == DISK_BLOCK && *place->identity &&
	       image_look(&move->shell, move->addresses[MOVE_SOURCE], disk->disk->path, &here,
			  NULL) &&
	       g_str_equal(here.identity, place->identity);
}

static bool judge_block(struct move *move, const struct move_disk *disk,
			const struct image_place *place, GError **error)
{
	struct host *host = move->hosts[MOVE_DESTINATION];
	if (!disk->place)
		return no_device(move, disk, error);
	if (place->size < disk->size)
		return error_set(
			error, WATARI_ERROR_REFUSED, _("Make it larger, or name another one."),
			_("%s at %s has %" PRIu64 " bytes, the disk %s %" PRIu64),
			disk->destination, host->name, place->size, disk->disk->target, disk->size);
	if (is_itself(move, disk, place))
		return error_set(error, WATARI_ERROR_REFUSED,
				 _("Leave --disk out for this disk, or name another place."),
				 _("%s at %s is the same device as %s at the source: copied onto "
				   "itself it would be destroyed"),
				 disk->destination, host->name, disk->disk->path);
	g_autoptr(GError) failure = NULL;
	g_autofree char *user = disk_use_find(&move->shell, host, disk->destination,
					      move->report->vm_uuid, &failure);
	if (user)
		return error_set(error, WATARI_ERROR_REFUSED,
				 _("Name a block device that nobody uses."),
				 _("%s at %s is in use by the VM “%s”"), disk->destination,
				 host->name, user);
	if (failure || place->busy)
		return error_set(error, WATARI_ERROR_REFUSED,
				 _("Name a block device that nobody uses."),
				 _("%s at %s is in use, or who uses it cannot be found out"),
				 disk->destination, host->name);
	return true;
}

static bool judge_place(struct move *move, const struct move_disk *disk,
			const struct image_place *place, GError **error)
{
	if (place->block)
		return judge_block(move, disk, place, error);
	if (place->exists)
		return is_image_there(move, disk, error);
	if (g_str_has_prefix(disk->destination, "/dev/"))
		return no_device(move, disk, error);
	return place->directory || no_directory(move, disk, error);
}

bool disk_place_find(struct move *move, struct move_disk *disk, struct image_place *place,
		     char **volume_pool, GError **error)
{
	*place = (struct image_place){ 0 };
	*volume_pool = NULL;
	if (disk->place && g_str_has_prefix(disk->place, POOL)) {
		if (!find_in_pool(move, disk, volume_pool, error))
			return false;
	} else {
		g_free(disk->destination);
		disk->destination = g_strdup(disk->place ? disk->place : disk->disk->path);
	}
	if (*volume_pool)
		return true;
	if (!image_look(&move->shell, move->addresses[MOVE_DESTINATION], disk->destination, place,
			error))
		return false;
	disk->block = place->block;
	disk->slice = place->block && place->size > disk->size ? disk->size : 0;
	return judge_place(move, disk, place, error);
}
