/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of seeds: the key, and indexes that are whole, damaged, or of another time. */
#include "nbd/seed_index.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

static char *folder; /* of this run */

static struct seed_index *sample(const char *path, guint count)
{
	struct seed_index *index = seed_index_new(path);
	for (guint i = 0; i < count; i++) {
		struct seed_entry entry = { .tag = i * 0x9e3779b97f4a7c15u, .block = i * 3 };
		g_array_append_val(index->entries, entry);
	}
	return index;
}

/* Caller frees. */
static char *only_file(void)
{
	g_autofree char *seeds = g_build_filename(folder, "seeds", NULL);
	GDir *directory = g_dir_open(seeds, 0, NULL);
	char *found = NULL;
	for (const char *name; (name = g_dir_read_name(directory));)
		if (g_str_has_suffix(name, ".index"))
			found = g_build_filename(seeds, name, NULL);
	g_dir_close(directory);
	return found;
}

static void test_key(void)
{
	uint8_t first[SEED_KEY_BYTES], second[SEED_KEY_BYTES], none[SEED_KEY_BYTES] = { 0 };
	g_autofree char *path = g_build_filename(folder, "seeds", "key", NULL);
	GStatBuf status;
	g_autoptr(GError) error = NULL;
	g_assert_true(seed_key_load(first, &error));
	g_assert_true(seed_key_load(second, &error));
	g_assert_cmpint(memcmp(first, second, sizeof(first)), ==, 0);
	g_assert_cmpint(memcmp(first, none, sizeof(first)), !=, 0);
	g_assert_cmpint(g_stat(path, &status), ==, 0);
	g_assert_cmpint(status.st_mode & 0777, ==, 0600);
	g_assert_true(g_file_set_contents(path, "short", 5, NULL));
	g_assert_false(seed_key_load(first, &error));
	g_assert_nonnull(strstr(error->message, "seeds/key"));
	g_unlink(path);
}

static void test_kept(void)
{
	g_autofree char *image = g_build_filename(folder, "image", NULL);
	g_assert_true(g_file_set_contents(image, "some bytes", -1, NULL));
	g_assert_null(seed_index_load(image));
	struct seed_index *index = sample(image, 1000);
	g_assert_true(seed_index_save(index, image, NULL));
	struct seed_index *kept = seed_index_load(image);
	g_assert_true(seed_index_is_same(index, kept));
	g_assert_cmpuint(kept->entries->len, ==, 1000);
	for (guint i = 0; i < 1000; i++) {
		const struct seed_entry *a = &g_array_index(index->entries, struct seed_entry, i);
		const struct seed_entry *b = &g_array_index(kept->entries, struct seed_entry, i);
		g_assert_true(a->block == b->block && a->tag == b->tag);
	}
	g_assert_true(g_file_set_contents(image, "other bytes", -1, NULL));
	struct seed_index *now = seed_index_new(image);
	g_assert_false(seed_index_is_same(now, kept));
	seed_index_free(now);
	seed_index_free(kept);
	seed_index_free(index);
}

/* One byte anywhere, or an end too early: either it is none, or its blocks are in order. */
static void test_damaged(void)
{
	g_autofree char *image = g_build_filename(folder, "image", NULL);
	struct seed_index *index = sample(image, 50);
	g_assert_true(seed_index_save(index, image, NULL));
	seed_index_free(index);
	g_autofree char *path = only_file(), *whole = NULL;
	gsize length;
	unsigned loaded = 0;
	g_assert_true(g_file_get_contents(path, &whole, &length, NULL));
	for (gsize i = 0; i < length; i++) {
		char before = whole[i];
		whole[i] = (char) ~before;
		g_assert_true(g_file_set_contents(path, whole, (gssize) length, NULL));
		whole[i] = before;
		struct seed_index *damaged = seed_index_load(image);
		int64_t last = -1;
		for (guint n = 0; damaged && n < damaged->entries->len; n++) {
			const struct seed_entry *entry =
				&g_array_index(damaged->entries, struct seed_entry, n);
			g_assert_cmpint(entry->block, >, last);
			last = entry->block;
		}
		loaded += damaged != NULL;
		seed_index_free(damaged);
		g_assert_true(g_file_set_contents(path, whole, (gssize) i, NULL));
		g_assert_null(seed_index_load(image));
	}
	g_assert_cmpuint(loaded, <, length);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	folder = g_dir_make_tmp("watari-seeds-XXXXXX", NULL);
	g_setenv("WATARI_STATE_DIR", folder, TRUE);
	g_test_add_func("/seed-index/key", test_key);
	g_test_add_func("/seed-index/kept", test_kept);
	g_test_add_func("/seed-index/damaged", test_damaged);
	int status = g_test_run();
	g_autofree char *path = only_file(), *image = g_build_filename(folder, "image", NULL);
	g_autofree char *seeds = g_build_filename(folder, "seeds", NULL);
	g_unlink(path);
	g_unlink(image);
	g_rmdir(seeds);
	g_rmdir(folder);
	return status;
}
