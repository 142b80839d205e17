/* SPDX-License-Identifier: Apache-2.0 */
/* The index never says what was not put, keeps the newest of what collides, and stays in its bound.
 */
#include "content/content_index.h"

#include <glib.h>

static uint64_t random_tag(GRand *rand)
{
	return (uint64_t) g_rand_int(rand) << 32 | g_rand_int(rand);
}

/* With few entries and much room everything is found; against a hash table that loses nothing. */
static void test_against_a_map(void)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(1);
	g_autoptr(GHashTable) map =
		g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	struct content_index *index = content_index_new(1 << 20);
	uint64_t tags[2000];
	unsigned found = 0;
	for (unsigned i = 0; i < G_N_ELEMENTS(tags); i++)
		tags[i] = i < 2 ? i - i * 2 : random_tag(rand); /* 0 and the largest, too */
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t *tag = g_memdup2(&tags[g_rand_int_range(rand, 0, G_N_ELEMENTS(tags))], 8);
		uint32_t place = g_rand_int_range(rand, 0, 4) ? g_rand_int(rand) : 0;
		content_index_put(index, *tag, place);
		g_assert_cmpuint(content_index_get(index, *tag), ==, place);
		g_hash_table_replace(map, tag, GUINT_TO_POINTER(place));
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(tags); i++) {
		uint32_t place = content_index_get(index, tags[i]);
		uint32_t wanted = GPOINTER_TO_UINT(g_hash_table_lookup(map, &tags[i]));
		if (place != 0)
			g_assert_cmpuint(place, ==, wanted);
		found += place == wanted;
		g_assert_cmpuint(content_index_get(index, tags[i] ^ 4), ==, 0);
	}
	g_assert_cmpuint(found, >=, G_N_ELEMENTS(tags) - 3);
	content_index_free(index);
}

/* One bucket: the five newest stay, a tag that is put again is new, one removed makes room. */
static void test_oldest_goes(void)
{
	struct content_index *index = content_index_new(127);
	g_assert_cmpuint(content_index_bytes(index), ==, 64);
	for (uint32_t i = 1; i <= 5; i++)
		content_index_put(index, i << 20, i);
	content_index_put(index, 1 << 20, 11);
	content_index_put(index, 6 << 20, 6);
	g_assert_cmpuint(content_index_get(index, 2 << 20), ==, 0);
	g_assert_cmpuint(content_index_get(index, 1 << 20), ==, 11);
	content_index_put(index, 4 << 20, 0);
	content_index_put(index, 9 << 20, 0);
	content_index_put(index, 7 << 20, 7);
	for (uint32_t i = 1; i <= 7; i++)
		g_assert_cmpuint(content_index_get(index, i << 20), ==,
				 i == 2 || i == 4 ? 0
				 : i == 1         ? 11
						  : i);
	content_index_put(index, 8 << 20, 8);
	g_assert_cmpuint(content_index_get(index, 3 << 20), ==, 0);
	content_index_free(index);
}

/* Twice as many as fit: nearly as many as fit are found, and most of them are the newer ones. */
static void test_overfull(void)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(2);
	struct content_index *index = content_index_new(64 * 2000);
	uint64_t tags[20000];
	unsigned found[2] = { 0 };
	for (unsigned i = 0; i < G_N_ELEMENTS(tags); i++) {
		tags[i] = random_tag(rand);
		content_index_put(index, tags[i], i + 1);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(tags); i++) {
		uint32_t place = content_index_get(index, tags[i]);
		g_assert_true(place == 0 || place == i + 1);
		found[i >= 10000] += place != 0;
	}
	g_assert_cmpuint(found[0] + found[1], >, 9500);
	g_assert_cmpuint(found[1], >, 8000);
	content_index_free(index);
}

static void test_no_room(void)
{
	struct content_index *index = content_index_new(63);
	content_index_put(index, 1, 1);
	g_assert_cmpuint(content_index_get(index, 1), ==, 0);
	g_assert_cmpuint(content_index_bytes(index), ==, 0);
	content_index_free(index);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/content-index/against-a-map", test_against_a_map);
	g_test_add_func("/content-index/oldest-goes", test_oldest_goes);
	g_test_add_func("/content-index/overfull", test_overfull);
	g_test_add_func("/content-index/no-room", test_no_room);
	return g_test_run();
}
