/* SPDX-License-Identifier: Apache-2.0 */
/* Counts the blocks of an image, and those known elsewhere. */
#include "mover/measure/image_content.h"

#include "content/batch.h"
#include "mover/measure/packing.h"

enum {
	PACKED_MOST = 2048, /* blocks that are packed for a trial */
	CLUSTER = 32,       /* neighbours among them, read at once */
};
_Static_assert(PACKING_PAGE == BATCH_DISK_BLOCK, "a block packs as a page");

static int compare_tags(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
	return (x > y) - (x < y);
}

GArray *image_content_new(const struct seed_index *index)
{
	guint count = index ? index->entries->len : 0, different = 0;
	GArray *tags = g_array_sized_new(FALSE, FALSE, sizeof(uint64_t), count);
	for (guint i = 0; i < count; i++)
		g_array_append_val(tags, g_array_index(index->entries, struct seed_entry, i).tag);
	g_array_sort(tags, compare_tags);
	for (guint i = 0; i < count; i++) {
		uint64_t tag = g_array_index(tags, uint64_t, i);
		if (different == 0 || g_array_index(tags, uint64_t, different - 1) != tag)
			g_array_index(tags, uint64_t, different++) = tag;
	}
	g_array_set_size(tags, different);
	return tags;
}

GArray *image_content_take(GArray *left, const struct seed_index *index)
{
	GArray *taken = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	g_autoptr(GArray) has = image_content_new(index);
	guint kept = 0;
	for (guint i = 0, j = 0; i < left->len; i++) {
		uint64_t tag = g_array_index(left, uint64_t, i);
		while (j < has->len && g_array_index(has, uint64_t, j) < tag)
			j++;
		if (j < has->len && g_array_index(has, uint64_t, j) == tag)
			g_array_append_val(taken, tag);
		else
			g_array_index(left, uint64_t, kept++) = tag;
	}
	g_array_set_size(left, kept);
	return taken;
}

/* ---- how it packs ---- */

struct cluster {
	uint8_t data[CLUSTER * BATCH_DISK_BLOCK];
	struct disk_piece pieces[CLUSTER];
	unsigned count;
};

/* False: it could not be read, or no more is wanted. */
static bool pack_cluster(struct cluster *cluster, struct disk_reader *reader,
			 struct packing *packing)
{
	unsigned count = cluster->count;
	cluster->count = 0;
	if (!disk_reader_read(reader, cluster->pieces, count, NULL))
		return false;
	for (unsigned i = 0; i < count; i++)
		if (!packing_add(packing, cluster->pieces[i].data))
			return false;
	return true;
}

/* Clusters of neighbours from everywhere. */
static void pack_blocks(GArray *tags, const struct seed_index *index, struct disk_reader *reader,
			struct packing *packing)
{
	guint stride = (tags->len / PACKED_MOST + 1) * CLUSTER, met = 0;
	uint64_t size = disk_reader_size(reader);
	g_autofree struct cluster *cluster = g_new0(struct cluster, 1);
	for (guint i = 0; i < index->entries->len; i++) {
		const struct seed_entry *entry =
			&g_array_index(index->entries, struct seed_entry, i);
		uint64_t offset = (uint64_t) entry->block * BATCH_DISK_BLOCK;
		if (offset + BATCH_DISK_BLOCK > size ||
		    !g_array_binary_search(tags, &entry->tag, compare_tags, NULL) ||
		    met++ % stride >= CLUSTER)
			continue;
		cluster->pieces[cluster->count] =
			(struct disk_piece){ offset, BATCH_DISK_BLOCK,
					     cluster->data + cluster->count * BATCH_DISK_BLOCK };
		if (++cluster->count == CLUSTER && !pack_cluster(cluster, reader, packing))
			return;
	}
	if (cluster->count)
		pack_cluster(cluster, reader, packing);
}

void image_content_describe(GArray *tags, const struct seed_index *index,
			    struct disk_reader *reader, JsonObject *object)
{
	json_object_set_int_member(object, "blocks", tags->len);
	if (tags->len == 0 || !reader)
		return;
	struct packing *packing = packing_new(PACKED_MOST);
	pack_blocks(tags, index, reader, packing);
	packing_end(packing, object);
}
