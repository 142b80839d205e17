/* SPDX-License-Identifier: Apache-2.0 */
/* The page table against a plain array; its bound; and that two of them never disagree. */
#include "content/page_table.h"

#include <glib.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define CHUNK_BYTES (12.25 * PAGE_TABLE_CHUNK) /* what the header promises */

static const uint64_t blocks[] = { 20000, 1, 0, 512, 513, 1023 };

static void assert_same(const struct page_entry *a, const struct page_entry *b)
{
	g_assert_cmpint(a->kind, ==, b->kind);
	g_assert_cmpuint(a->tag, ==, b->tag);
	g_assert_cmpuint(a->place, ==, b->place);
}

struct model {
	struct page_entry *pages[G_N_ELEMENTS(blocks)];
};

static void model_init(struct model *model)
{
	for (size_t i = 0; i < G_N_ELEMENTS(blocks); i++)
		model->pages[i] = g_new0(struct page_entry, blocks[i] + 1);
}

static void model_destroy(struct model *model)
{
	for (size_t i = 0; i < G_N_ELEMENTS(blocks); i++)
		g_free(model->pages[i]);
}

/* One step of a guest's life: to the model and to both tables. */
static void step(GRand *rand, struct model *model, struct page_table *tables[2])
{
	uint32_t block = (uint32_t) g_rand_int_range(rand, 0, G_N_ELEMENTS(blocks) + 1);
	uint64_t pages = block < G_N_ELEMENTS(blocks) ? blocks[block] : 100;
	uint64_t page = (uint64_t) g_rand_int_range(rand, 0, (gint32) pages + 20);
	if (g_rand_int_range(rand, 0, 3) == 0) {
		uint64_t count = (uint64_t) 1 << g_rand_int_range(rand, 0, 14);
		count += (uint64_t) g_rand_int_range(rand, -1, 2);
		if (g_rand_int_range(rand, 0, 50) == 0)
			count = UINT64_MAX - page + 1 + count % 2;
		for (uint64_t i = page; i < pages && i - page < count; i++)
			if (block < G_N_ELEMENTS(blocks))
				model->pages[block][i] = (struct page_entry){ PAGE_ZERO, 0, 0 };
		for (int i = 0; i < 2; i++)
			page_table_put_zero_run(tables[i], block, page, count);
		return;
	}
	struct page_entry entry = { (enum page_kind) g_rand_int_range(rand, 0, 4) % 3 };
	if (entry.kind == PAGE_CONTENT) {
		entry.tag = g_rand_int(rand);
		entry.place = g_rand_int(rand) % 3;
	}
	if (block < G_N_ELEMENTS(blocks) && page < pages)
		model->pages[block][page] = entry;
	for (int i = 0; i < 2; i++)
		page_table_put(tables[i], block, page, &entry);
}

/* How many pages the tables know; whatever they know is as in the model. */
static uint64_t check_all(const struct model *model, struct page_table *tables[2], bool all)
{
	uint64_t known = 0;
	struct page_entry got[2];
	for (uint32_t block = 0; block < G_N_ELEMENTS(blocks); block++) {
		for (uint64_t page = 0; page < blocks[block] + 3; page++) {
			bool is_known = page_table_get(tables[0], block, page, &got[0]);
			g_assert_cmpint(page_table_get(tables[1], block, page, &got[1]), ==,
					is_known);
			g_assert_cmpint(got[0].kind != PAGE_UNKNOWN, ==, is_known);
			assert_same(&got[0], &got[1]);
			known += is_known;
			if (page >= blocks[block])
				g_assert_false(is_known);
			else if (all || is_known)
				assert_same(&got[0], &model->pages[block][page]);
		}
	}
	return known;
}

static uint64_t run_model(uint64_t bytes_max, bool all, int steps, uint32_t seed)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
	struct model model;
	struct page_table *tables[2];
	uint64_t known = 0;
	model_init(&model);
	for (int i = 0; i < 2; i++) {
		tables[i] = page_table_new(bytes_max);
		page_table_set_blocks(tables[i], blocks, G_N_ELEMENTS(blocks));
	}
	for (int i = 1; i <= steps; i++) {
		step(rand, &model, tables);
		if (i % (steps / 20) == 0)
			known = check_all(&model, tables, all);
		g_assert_cmpuint(page_table_bytes(tables[0]), <=, bytes_max);
	}
	page_table_clear(tables[0]);
	page_table_clear(tables[1]);
	model_destroy(&model);
	model_init(&model);
	check_all(&model, tables, true);
	for (int i = 0; i < steps / 10; i++)
		step(rand, &model, tables);
	check_all(&model, tables, all);
	page_table_free(tables[0]);
	page_table_free(tables[1]);
	model_destroy(&model);
	return known;
}

static void test_as_an_array(void)
{
	for (uint32_t seed = 0; seed < 6; seed++)
		g_assert_cmpuint(run_model(MIB, true, 4000, seed), >, 10000);
}

/* Storage for a third of the 46 chunks, for none, and not even a directory. */
static void test_full(void)
{
	uint64_t third = run_model(120000, false, 4000, 1), none = run_model(1000, false, 4000, 1);
	g_assert_cmpuint(none, >, 1000);
	g_assert_cmpuint(third, >, none);
	g_assert_cmpuint(third, <, run_model(MIB, true, 4000, 1));
	g_assert_cmpuint(run_model(200, false, 4000, 1), ==, 0);
	g_assert_cmpuint(run_model(0, false, 4000, 1), ==, 0);
}

/* Two runs of zeros at every distance, with storage and without. */
static void test_two_runs(void)
{
	const uint64_t pages = PAGE_TABLE_CHUNK;
	struct page_entry got;
	for (unsigned first = 80; first <= 130; first++) {
		for (unsigned count = 5; count <= 15; count++) {
			struct page_table *room = page_table_new(MIB), *none = page_table_new(100);
			struct page_table *tables[] = { room, none };
			bool joined = first <= 110 && first + count >= 100;
			for (int i = 0; i < 2; i++) {
				page_table_set_blocks(tables[i], &pages, 1);
				page_table_put_zero_run(tables[i], 0, 100, 10);
				page_table_put_zero_run(tables[i], 0, first, count);
			}
			for (unsigned page = 0; page < pages; page++) {
				bool one = page >= 100 && page < 110;
				bool two = page >= first && page < first + count;
				bool first_wins = count < 10 || (count == 10 && first > 100);
				bool kept = joined ? one || two : first_wins ? one : two;
				g_assert_cmpint(page_table_get(room, 0, page, &got), ==,
						one || two);
				g_assert_cmpint(page_table_get(none, 0, page, &got), ==, kept);
			}
			page_table_free(room);
			page_table_free(none);
		}
	}
}

/* Many chunks and not enough storage: what is known is right, what has to go goes the same way in
 * two tables, and storage that is no longer needed serves others. */
static void test_storage_moves_on(void)
{
	const uint64_t pages = 1024 * PAGE_TABLE_CHUNK;
	const uint64_t bytes_max = 1024 * 4 + 100 + (uint64_t) (130 * (CHUNK_BYTES + 8));
	struct page_table *table = page_table_new(bytes_max);
	struct page_entry entry = { PAGE_CONTENT, 7, 9 }, got;
	unsigned known = 0;
	page_table_set_blocks(table, &pages, 1);
	page_table_put_zero_run(table, 0, 0, pages);
	for (uint64_t chunk = 0; chunk < 1024; chunk++)
		page_table_put(table, 0, chunk * PAGE_TABLE_CHUNK + 5, &entry);
	g_assert_cmpuint(page_table_bytes(table), <=, bytes_max);
	for (uint64_t chunk = 0; chunk < 1024; chunk++) {
		known += page_table_get(table, 0, chunk * PAGE_TABLE_CHUNK + 5, &got);
		/* The longer rest of the zeros is still known. */
		g_assert_true(page_table_get(table, 0, chunk * PAGE_TABLE_CHUNK + 6, &got));
		g_assert_cmpint(got.kind, ==, PAGE_ZERO);
	}
	g_assert_cmpuint(known, ==, 128);
	page_table_put_zero_run(table, 0, 0, 64 * PAGE_TABLE_CHUNK);
	for (uint64_t chunk = 500; chunk < 600; chunk++)
		page_table_put(table, 0, chunk * PAGE_TABLE_CHUNK + 5, &entry);
	known = 0;
	for (uint64_t chunk = 500; chunk < 600; chunk++)
		known += page_table_get(table, 0, chunk * PAGE_TABLE_CHUNK + 5, &got);
	g_assert_cmpuint(known, ==, 64);
	g_assert_cmpuint(page_table_bytes(table), <=, bytes_max);
	page_table_free(table);
}

/* 512 GiB of which 100 MiB are used, zeros in the pieces in which a stream brings them. */
static void test_mostly_empty_512_gib(void)
{
	const uint64_t pages = 512 * GIB / 4096;
	struct page_table *table = page_table_new(16 * MIB);
	struct page_entry got;
	page_table_set_blocks(table, &pages, 1);
	for (uint64_t page = 0; page < pages; page += 12800)
		page_table_put_zero_run(table, 0, page, 12800);
	g_assert_cmpuint(page_table_bytes(table), <=, MIB + 64);
	for (uint64_t page = 0; page < 25600; page++) {
		struct page_entry entry = { PAGE_CONTENT, (uint32_t) page, ~page };
		page_table_put(table, 0, 77777 + 4096 * (page / 512) + page % 512, &entry);
	}
	g_assert_cmpuint(page_table_bytes(table), <=, 2 * MIB);
	for (uint64_t page = 0; page < 25600; page++) {
		uint64_t at = 77777 + 4096 * (page / 512) + page % 512;
		g_assert_true(page_table_get(table, 0, at, &got));
		g_assert_cmpuint(got.tag, ==, ~page);
		g_assert_cmpuint(got.place, ==, page);
		g_assert_true(page_table_get(table, 0, at + 2048, &got));
		g_assert_cmpint(got.kind, ==, PAGE_ZERO);
	}
	page_table_put_zero_run(table, 0, 0, UINT64_MAX);
	g_assert_true(page_table_get(table, 0, 77777, &got));
	g_assert_cmpint(got.kind, ==, PAGE_ZERO);
	page_table_free(table);
}

/* A full guest: what does not fit is forgotten, the bound holds. */
static void test_full_64_gib(void)
{
	const uint64_t pages = 64 * GIB / 4096, bytes_max = 8 * MIB;
	struct page_table *table = page_table_new(bytes_max);
	struct page_entry got;
	uint64_t known = 0;
	page_table_set_blocks(table, &pages, 1);
	for (uint64_t page = 0; page < pages; page++) {
		struct page_entry entry = { PAGE_CONTENT, 1, page };
		page_table_put(table, 0, page, &entry);
	}
	g_assert_cmpuint(page_table_bytes(table), <=, bytes_max);
	for (uint64_t page = 0; page < pages; page++)
		if (page_table_get(table, 0, page, &got)) {
			g_assert_cmpuint(got.tag, ==, page);
			known++;
		}
	g_assert_cmpuint(known * 13, >, bytes_max * 9 / 10);
	page_table_free(table);
}

/* Sizes that a hostile peer might name. */
static void test_hostile_blocks(void)
{
	const uint64_t huge[] = { UINT64_MAX, UINT64_MAX, UINT64_MAX - 511, 1 };
	struct page_entry entry = { PAGE_CONTENT, 1, 1 }, got;
	for (uint32_t count = 1; count <= G_N_ELEMENTS(huge); count++) {
		struct page_table *table = page_table_new(64 * MIB);
		page_table_put(table, 0, 0, &entry); /* before the blocks are known */
		page_table_set_blocks(table, huge, count);
		page_table_put(table, 0, 0, &entry);
		page_table_put_zero_run(table, count - 1, UINT64_MAX - 5, UINT64_MAX);
		g_assert_false(page_table_get(table, 0, 0, &got));
		g_assert_cmpuint(page_table_bytes(table), ==, 0);
		page_table_clear(table);
		page_table_free(table);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/page-table/as-an-array", test_as_an_array);
	g_test_add_func("/page-table/full", test_full);
	g_test_add_func("/page-table/two-runs", test_two_runs);
	g_test_add_func("/page-table/storage-moves-on", test_storage_moves_on);
	g_test_add_func("/page-table/mostly-empty-512-gib", test_mostly_empty_512_gib);
	g_test_add_func("/page-table/full-64-gib", test_full_64_gib);
	g_test_add_func("/page-table/hostile-blocks", test_hostile_blocks);
	return g_test_run();
}
