/* SPDX-License-Identifier: Apache-2.0 */
/* The images that a disk stands on, read from their headers. */
#include "conductor/disks/share.h"

#include "host/image.h"

struct chaining {
	struct move *move;
	const struct disk *disk;
	char **paths;
	GError *error;
};

/* Of a disk that nobody has open libvirt does not say what it stands on; the images do. */
static void call_read_chain(void *data)
{
	struct chaining *chaining = data;
	struct move *move = chaining->move;
	g_autoptr(GStrvBuilder) paths = g_strv_builder_new();
	g_autoptr(GPtrArray) chain =
		image_read_chain(&move->shell, move->addresses[MOVE_SOURCE], chaining->disk->path,
				 chaining->disk->format, NULL, &chaining->error);
	for (guint i = 1; chain && i < chain->len; i++)
		g_strv_builder_add(paths, ((const struct image *) chain->pdata[i])->path);
	chaining->paths = g_strv_builder_end(paths);
}

bool share_list_chain(struct move *move, const struct disk *disk, char ***paths, GError **error)
{
	struct chaining chaining = { .move = move, .disk = disk };
	if (disk->backing[0] || g_str_equal(disk->format, "raw")) {
		*paths = g_strdupv(disk->backing);
		return true;
	}
	move_call(move, call_read_chain, &chaining);
	*paths = chaining.paths;
	if (!chaining.error)
		return true;
	error_classify(&chaining.error, WATARI_ERROR_REFUSED, NULL);
	g_propagate_prefixed_error(error, chaining.error, "%s: ", disk->target);
	return false;
}
