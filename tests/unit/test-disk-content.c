/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of disks through sorter, body and resolver: what travels how, what both sides know afterwards, and
 * what a source that lies gets. */
#include "content/body.h"
#include "content/resolver.h"
#include "content/seed_pages.h"
#include "content/sorter.h"

#include <glib.h>
#include <string.h>

#define BLOCK BATCH_DISK_BLOCK
#define BLOCKS 4096
#define LIMIT (256ull << 20)

static const uint8_t key[TAG_KEY_BYTES] = { 7 };

struct pair {
	struct sorter *sorter;
	struct resolver *resolver;
	struct batch *batch, *there;
	struct body *body;
	uint8_t *wire;
	uint8_t *disks[2]; /* of the destination */
	size_t wire_bytes;
	unsigned kinds[ITEM_KIND_LAST];
};

static void pair_start(struct pair *pair, bool fresh)
{
	struct known_sizes sizes = known_sizes_for(LIMIT);
	const struct known_disk disks[2] = { { .bytes = (uint64_t) BLOCKS * BLOCK, .fresh = fresh },
					     { .bytes = 100 * BLOCK + 512, .fresh = fresh } };
	*pair = (struct pair){ .sorter = sorter_new(key, key, &sizes),
			       .resolver = resolver_new(key, key, &sizes),
			       .batch = batch_new(),
			       .there = batch_new(),
			       .body = body_new(),
			       .wire = g_malloc(BATCH_BODY_MAX) };
	for (unsigned i = 0; i < 2; i++)
		pair->disks[i] = g_malloc0(disks[i].bytes);
	sorter_set_disks(pair->sorter, disks, 2);
	resolver_set_disks(pair->resolver, disks, 2);
}

static void pair_end(struct pair *pair)
{
	sorter_free(pair->sorter);
	resolver_free(pair->resolver);
	batch_free(pair->batch);
	batch_free(pair->there);
	body_free(pair->body);
	g_free(pair->wire);
	g_free(pair->disks[0]);
	g_free(pair->disks[1]);
}

/* PAIR's batch over the wire, as far as the items there. */
static void cross(struct pair *pair)
{
	body_write(pair->body, pair->batch);
	pair->wire_bytes = 0;
	for (unsigned i = 0; i < pair->body->part_count; i++) {
		memcpy(pair->wire + pair->wire_bytes, pair->body->parts[i].data,
		       pair->body->parts[i].length);
		pair->wire_bytes += pair->body->parts[i].length;
	}
	g_assert_true(body_read(pair->there, pair->wire, pair->wire_bytes));
	pair->there->kind = BATCH_DISK;
}

/* As the mover's fetch: what is meant stands before it in the batch, or on a disk. */
static void fetch(struct pair *pair, struct tag_context *pages)
{
	struct batch *batch = pair->there;
	batch_tag_literals(batch, pages);
	for (uint32_t i = 0; i < batch->count; i++) {
		struct item *item = &batch->items[i];
		uint32_t disk;
		uint64_t block;
		if (item->kind != ITEM_DISK)
			continue;
		g_assert_true(resolver_find_block(pair->resolver, item->place, &disk, &block));
		item->data = pair->disks[disk] + block * BLOCK;
		for (uint32_t j = 0; j < i; j++)
			if (batch->items[j].block == disk && batch->items[j].page == block &&
			    batch->items[j].kind != ITEM_SAME)
				item->data = batch->items[j].data;
	}
}

static void write_there(struct pair *pair)
{
	for (uint32_t i = 0; i < pair->there->count; i++) {
		const struct item *item = &pair->there->items[i];
		uint8_t *at = pair->disks[item->block] + item->page * BLOCK;
		pair->kinds[item->kind]++;
		if (item->kind == ITEM_ZERO)
			memset(at, 0, (size_t) item->count * BLOCK);
		else if (item->data)
			memmove(at, item->data, BLOCK);
	}
}

/* COUNT blocks from FIRST on. */
static void send_blocks(struct pair *pair, unsigned disk, uint64_t first, uint32_t count,
			const uint8_t *data)
{
	struct tag_context *pages = tag_context_new(key, "page");
	batch_clear(pair->batch);
	memcpy(pair->batch->raw, data, (size_t) count * BLOCK);
	batch_set_blocks(pair->batch, disk, first, count);
	sorter_sort_disk(pair->sorter, pair->batch);
	cross(pair);
	fetch(pair, pages);
	g_assert_cmpint(resolver_disk(pair->resolver, pair->there, pair->batch->tag), ==,
			RESOLVER_GOOD);
	/* What is read from a disk is read before anything of the batch is written. */
	for (uint32_t i = 0; i < pair->there->count; i++)
		if (pair->there->items[i].kind == ITEM_DISK)
			pair->there->items[i].data =
				memcpy(pair->there->deltas + (size_t) i * BLOCK,
				       pair->there->items[i].data, BLOCK);
	write_there(pair);
	tag_context_free(pages);
}

/* Whatever is written in whatever order, both disks are the same afterwards. */
static void test_random_writes(void)
{
	GRand *random = g_rand_new_with_seed(4);
	struct pair pair;
	pair_start(&pair, true);
	g_autofree uint8_t *model = g_malloc0((size_t) BLOCKS * BLOCK);
	g_autofree uint8_t *data = g_malloc((size_t) BATCH_DISK_BLOCKS * BLOCK);
	for (unsigned round = 0; round < 2000; round++) {
		uint32_t count = (uint32_t) g_rand_int_range(random, 1, BATCH_DISK_BLOCKS + 1);
		uint32_t first = (uint32_t) g_rand_int_range(random, 0, (gint32) (BLOCKS - count));
		for (uint32_t i = 0; i < count; i++) {
			int what = g_rand_int_range(random, 0, 40);
			memset(data + (size_t) i * BLOCK, what, BLOCK); /* 0: zeros */
			if (what > 20)
				data[(size_t) i * BLOCK + 77] = (uint8_t) g_rand_int(random);
			if (what > 30)
				memcpy(data + (size_t) i * BLOCK,
				       model + (size_t) (first + i) * BLOCK, BLOCK);
		}
		memcpy(model + (size_t) first * BLOCK, data, (size_t) count * BLOCK);
		send_blocks(&pair, 0, first, count, data);
		g_assert_cmpint(memcmp(model, pair.disks[0], (size_t) BLOCKS * BLOCK), ==, 0);
	}
	g_assert_cmpuint(pair.kinds[ITEM_DISK], >, 100);
	g_assert_cmpuint(pair.kinds[ITEM_SAME], >, 100);
	g_assert_cmpuint(pair.kinds[ITEM_ZERO], >, 100);
	g_assert_cmpuint(pair.kinds[ITEM_LITERAL], >, 100);
	pair_end(&pair);
	g_rand_free(random);
}

static void test_zeros(void)
{
	struct pair pair;
	uint8_t block[BLOCK] = { 1 };
	pair_start(&pair, true);
	const uint64_t size = (uint64_t) BLOCKS * BLOCK;
	g_assert_false(sorter_zero_disk(pair.sorter, 0, 0, size));
	send_blocks(&pair, 0, 9, 1, block);
	g_assert_false(sorter_zero_disk(pair.sorter, 0, 0, 9 * BLOCK));
	g_assert_false(sorter_zero_disk(pair.sorter, 0, 10 * BLOCK, 7));
	g_assert_true(sorter_zero_disk(pair.sorter, 0, 9 * BLOCK + 5, 1));
	g_assert_true(sorter_zero_disk(pair.sorter, 0, 0, size));
	g_assert_false(sorter_zero_disk(pair.sorter, 0, 0, size));
	/* The last half block is in no table: once anything was written near it, it is always sent. */
	g_assert_false(sorter_zero_disk(pair.sorter, 1, 100 * BLOCK, 512));
	send_blocks(&pair, 1, 3, 1, block);
	g_assert_true(sorter_zero_disk(pair.sorter, 1, 100 * BLOCK, 512));
	g_assert_true(sorter_zero_disk(pair.sorter, 1, 100 * BLOCK, 512));
	pair_end(&pair);
	pair_start(&pair, false);
	g_assert_true(sorter_zero_disk(pair.sorter, 0, 0, size));
	g_assert_false(sorter_zero_disk(pair.sorter, 0, 0, size));
	pair_end(&pair);
}

/* More than the table can hold: that fresh disks are zeros is known all the same. */
static void test_huge(void)
{
	struct known_sizes sizes = known_sizes_for(LIMIT);
	struct sorter *sorter = sorter_new(key, key, &sizes);
	const struct known_disk disks[] = { { .bytes = 8ull << 40, .fresh = true },
					    { .bytes = 8ull << 40, .fresh = true },
					    { .bytes = 8ull << 40 } };
	struct batch *batch = batch_new();
	sorter_set_disks(sorter, disks, G_N_ELEMENTS(disks));
	for (uint32_t i = 0; i < 2; i++) {
		g_assert_false(sorter_zero_disk(sorter, i, 0, 8ull << 40));
		memset(batch->raw, 1, BLOCK);
		batch_set_blocks(batch, i, (5ull << 30) / BLOCK, 1);
		sorter_sort_disk(sorter, batch);
		g_assert_true(sorter_zero_disk(sorter, i, 5ull << 30, BLOCK));
		g_assert_false(sorter_zero_disk(sorter, i, 6ull << 30, 8ull << 30));
		batch_clear(batch);
	}
	g_assert_true(sorter_zero_disk(sorter, 2, 0, 4096));
	batch_free(batch);
	sorter_free(sorter);
}

/* A reference to what has been overwritten must not be made. */
static void test_old_places(void)
{
	struct pair pair;
	uint8_t a[BLOCK] = { 1 }, b[BLOCK] = { 2 };
	pair_start(&pair, true);
	send_blocks(&pair, 0, 5, 1, a);
	send_blocks(&pair, 1, 6, 1, a);
	g_assert_cmpuint(pair.kinds[ITEM_DISK], ==, 1);
	send_blocks(&pair, 0, 5, 1, b);
	send_blocks(&pair, 1, 6, 1, b);
	g_assert_cmpuint(pair.kinds[ITEM_DISK], ==, 2);
	send_blocks(&pair, 0, 7, 1, a);
	g_assert_cmpuint(pair.kinds[ITEM_DISK], ==, 2);
	send_blocks(&pair, 0, 7, 1, a);
	g_assert_cmpuint(pair.kinds[ITEM_SAME], ==, 1);
	sorter_clear_disk(pair.sorter, 0, 7 * BLOCK + 1, 1);
	resolver_clear_disk(pair.resolver, 0, 7 * BLOCK + 1, 1);
	send_blocks(&pair, 0, 7, 1, a);
	g_assert_cmpuint(pair.kinds[ITEM_SAME], ==, 1);
	pair_end(&pair);
}

/* Whatever a source that lies makes of an item: refused, and nothing outside is touched. */
static void test_lies(void)
{
	struct pair pair;
	uint8_t blocks[4 * BLOCK] = { 1 };
	for (unsigned lie = 0; lie < 9; lie++) {
		pair_start(&pair, true);
		batch_clear(pair.batch);
		blocks[BLOCK] = 2;
		blocks[2 * BLOCK] = 3;
		memcpy(pair.batch->raw, blocks, sizeof(blocks)); /* the last one is zeros */
		batch_set_blocks(pair.batch, 0, 0, 4);
		sorter_sort_disk(pair.sorter, pair.batch);
		cross(&pair);
		struct item *item = &pair.there->items[1], *zeros = &pair.there->items[3];
		struct tag_context *pages = tag_context_new(key, "page");
		batch_tag_literals(pair.there, pages);
		switch (lie) {
		case 0:
			item->block = 2;
			break;
		case 1:
			item->page = BLOCKS;
			break;
		case 2:
			item->kind = ITEM_SAME;
			break;
		case 3:
			item->kind = ITEM_DELTA;
			break;
		case 4:
			item->kind = ITEM_BYTES;
			break;
		case 5:
			item->kind = ITEM_REFERENCE;
			item->place = 77;
			break;
		case 6:
			item->kind = ITEM_DISK;
			item->data = NULL;
			break;
		case 7:
			zeros->count = BLOCKS;
			break;
		default:
			item->page = 2;
			break; /* another block than was meant */
		}
		g_assert_cmpint(resolver_disk(pair.resolver, pair.there, pair.batch->tag), !=,
				RESOLVER_GOOD);
		tag_context_free(pages);
		pair_end(&pair);
	}
}

static void test_places(void)
{
	struct known_sizes sizes = known_sizes_for(LIMIT);
	struct sorter *sorter = sorter_new(key, key, &sizes);
	struct resolver *resolver = resolver_new(key, key, &sizes);
	/* The second one has more blocks than there are places left. */
	const struct known_disk disks[] = { { .bytes = 1ull << 42 },
					    { .bytes = 9ull << 40 },
					    { .bytes = 1 << 20 } };
	uint32_t disk;
	uint64_t block;
	resolver_set_disks(resolver, disks, G_N_ELEMENTS(disks));
	g_assert_false(resolver_find_block(resolver, 0, &disk, &block));
	g_assert_true(resolver_find_block(resolver, 1, &disk, &block));
	g_assert_true(resolver_find_block(resolver, (1u << 30) + 1, &disk, &block));
	g_assert_cmpuint(disk, ==, 2);
	g_assert_cmpuint(block, ==, 0);
	g_assert_false(resolver_find_block(resolver, (1u << 30) + 257, &disk, &block));
	g_assert_cmpuint(sorter_add_seed(sorter, 8192), ==, KNOWN_SEED_PLACES);
	g_assert_cmpuint(sorter_add_seed(sorter, 1ull << 50), ==, 0);
	g_assert_cmpuint(sorter_add_seed(sorter, 4096), ==, KNOWN_SEED_PLACES + 2);
	for (unsigned i = 2; i < KNOWN_SEEDS_MAX; i++)
		g_assert_cmpuint(sorter_add_seed(sorter, 1), !=, 0);
	g_assert_cmpuint(sorter_add_seed(sorter, 1), ==, 0);
	resolver_free(resolver);
	sorter_free(sorter);
}

/* No more than there is room for travels as a reference to a seed. */
static void test_seed_pages(void)
{
	struct seed_pages *pages = seed_pages_new();
	uint8_t page[SEED_PAGE_BYTES] = { 0 };
	for (unsigned i = 0; i < SEED_PAGES_MAX; i++) {
		memcpy(page, &i, sizeof(i));
		g_assert_true(seed_pages_add(pages, page));
	}
	g_assert_false(seed_pages_add(pages, page));
	g_assert_cmpint(memcmp(seed_pages_get(pages, 5), "\5\0\0\0", 4), ==, 0);
	g_assert_null(seed_pages_get(pages, SEED_PAGES_MAX));
	seed_pages_release(pages, 6);
	g_assert_null(seed_pages_get(pages, 5));
	g_assert_nonnull(seed_pages_get(pages, 6));
	seed_pages_release(pages, 3); /* an older word that comes late */
	g_assert_null(seed_pages_get(pages, 5));
	g_assert_true(seed_pages_add(pages, page));
	g_assert_cmpuint(seed_pages_count(pages), ==, SEED_PAGES_MAX + 1);
	seed_pages_release(pages, UINT64_MAX);
	g_assert_null(seed_pages_get(pages, SEED_PAGES_MAX));
	seed_pages_free(pages);
}

static void test_offers(void)
{
	struct pair pair;
	uint8_t a[BLOCK] = { 1 }, tag[TAG_BYTES];
	struct tag_context *pages = tag_context_new(key, "page");
	pair_start(&pair, true);
	tag_compute(pages, a, BLOCK, tag);
	sorter_offer(pair.sorter, item_short_tag(tag), KNOWN_SEED_PLACES); /* there is no seed */
	uint32_t place = sorter_add_seed(pair.sorter, 2 * BLOCK);
	sorter_offer(pair.sorter, item_short_tag(tag), place + 2); /* beyond its end */
	batch_clear(pair.batch);
	memcpy(pair.batch->raw, a, BLOCK);
	batch_set_blocks(pair.batch, 0, 3, 1);
	sorter_sort_disk(pair.sorter, pair.batch);
	g_assert_cmpint(pair.batch->items[0].kind, ==, ITEM_LITERAL);
	sorter_clear_disk(pair.sorter, 0, 3 * BLOCK, BLOCK);
	pair_end(&pair);
	pair_start(&pair, true);
	place = sorter_add_seed(pair.sorter, 2 * BLOCK);
	sorter_offer(pair.sorter, item_short_tag(tag), place + 1);
	batch_clear(pair.batch);
	memcpy(pair.batch->raw, a, BLOCK);
	batch_set_blocks(pair.batch, 0, 3, 1);
	sorter_sort_disk(pair.sorter, pair.batch);
	g_assert_cmpint(pair.batch->items[0].kind, ==, ITEM_DISK);
	g_assert_cmpuint(pair.batch->items[0].place, ==, place + 1);
	g_assert_cmpuint(pair.batch->seed_pages, ==, 1);
	g_assert_cmpint(memcmp(sorter_seed_page(pair.sorter, 0), a, BLOCK), ==, 0);
	sorter_seeds_taken(pair.sorter, 1);
	g_assert_null(sorter_seed_page(pair.sorter, 0));
	tag_context_free(pages);
	pair_end(&pair);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/disk-content/random-writes", test_random_writes);
	g_test_add_func("/disk-content/zeros", test_zeros);
	g_test_add_func("/disk-content/huge", test_huge);
	g_test_add_func("/disk-content/old-places", test_old_places);
	g_test_add_func("/disk-content/lies", test_lies);
	g_test_add_func("/disk-content/places", test_places);
	g_test_add_func("/disk-content/seed-pages", test_seed_pages);
	g_test_add_func("/disk-content/offers", test_offers);
	return g_test_run();
}
