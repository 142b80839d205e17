/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes of storage pools at both hosts. See volume.h. */
#include "conductor/disks/volume.h"

#include "base/i18n.h"

#include <stdlib.h>

struct finding {
	struct move *move;
	const struct disk *disk;
	char *path; /* at the destination; NULL: it has no such volume */
};

static void call_find_volume(void *data)
{
	struct finding *finding = data;
	virConnectPtr there = finding->move->hosts[MOVE_DESTINATION]->connection;
	virStoragePoolPtr pool = virStoragePoolLookupByName(there, finding->disk->pool);
	virStorageVolPtr volume =
		pool ? virStorageVolLookupByName(pool, finding->disk->volume) : NULL;
	if (!volume && pool && virStoragePoolRefresh(pool, 0) == 0)
		volume = virStorageVolLookupByName(pool, finding->disk->volume);
	char *path = volume ? virStorageVolGetPath(volume) : NULL;
	finding->path = g_strdup(path);
	free(path);
	if (volume)
		virStorageVolFree(volume);
	if (pool)
		virStoragePoolFree(pool);
}

bool volume_check_place(struct move *move, const struct disk *disk, GError **error)
{
	struct finding finding = { .move = move, .disk = disk };
	const char *there = move->hosts[MOVE_DESTINATION]->name;
	if (!disk->pool || !disk->volume || !disk->path)
		return true;
	move_call(move, call_find_volume, &finding);
	g_autofree char *path = finding.path;
	g_autofree char *next = g_strdup_printf(
		_("Give the pool the same place there, or say where the disk goes: --disk "
		  "%s=PLACE."),
		disk->target);
	if (!path)
		return error_set(error, WATARI_ERROR_REFUSED, next,
				 _("%s has no volume “%s” in its pool “%s”, which the disk %s is"),
				 there, disk->volume, disk->pool, disk->target);
	return g_str_equal(path, disk->path) ||
	       error_set(error, WATARI_ERROR_REFUSED, next,
			 _("the disk %s is the volume “%s” of the pool “%s”: that is %s at %s, but "
			   "%s at %s"),
			 disk->target, disk->volume, disk->pool, disk->path,
			 move->hosts[MOVE_SOURCE]->name, path, there);
}
