/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of each page of the guest: a directory of chunks, of which only the mixed ones have
 * storage. */
#include "content/page_table.h"

#include <glib.h>
#include <string.h>

#define WORDS (PAGE_TABLE_CHUNK / 64)
#define SLAB_CHUNKS 16 /* chunks that are allocated at once */

/* One entry of the directory is 32 bits. With STORED: the number of the chunk's storage. Without:
 * the run of zero pages in it, first page in bits 0-15, the one after the last in bits 16-30; the
 * other pages are unknown. */
#define STORED UINT32_C(0x80000000)
#define NO_STORAGE UINT32_MAX
#define CHUNKS_MAX (STORED - 1)

struct chunk {
	uint64_t known[WORDS];   /* a bit a page: zero or content */
	uint64_t content[WORDS]; /* a bit a page; implies known */
	uint64_t tag[PAGE_TABLE_CHUNK];
	uint32_t place[PAGE_TABLE_CHUNK];
};

/* The two sides' tables count in these sizes, whatever they run on. */
_Static_assert(sizeof(struct chunk) == 128 + 12 * PAGE_TABLE_CHUNK, "a chunk has no padding");
_Static_assert(PAGE_TABLE_CHUNK <= INT16_MAX, "a directory entry holds two page numbers");

struct block {
	uint64_t pages;
	uint64_t first_chunk; /* in the directory */
};

struct page_table {
	uint64_t bytes_max;
	struct block *blocks;
	uint32_t block_count;
	uint32_t *directory;
	uint64_t directory_chunks;

	uint32_t stored_max;   /* chunks that may have storage */
	uint32_t stored_made;  /* of which there is memory */
	uint32_t *unused;      /* numbers of storage not in use; stored_made long */
	uint32_t unused_count; /* ... of which so many */
	struct chunk **slabs;  /* of SLAB_CHUNKS each, the last one shorter */
};

struct page_table *page_table_new(uint64_t bytes_max)
{
	struct page_table *table = g_new0(struct page_table, 1);
	table->bytes_max = bytes_max;
	return table;
}

static void storage_free(struct page_table *table)
{
	for (uint32_t i = 0; i * SLAB_CHUNKS < table->stored_made; i++)
		g_free(table->slabs[i]);
	g_clear_pointer(&table->slabs, g_free);
	g_clear_pointer(&table->unused, g_free);
	table->stored_made = table->unused_count = 0;
}

void page_table_free(struct page_table *table)
{
	if (!table)
		return;
	storage_free(table);
	g_free(table->directory);
	g_free(table->blocks);
	g_free(table);
}

/* Bytes of storage with all that is kept for it. */
static uint64_t stored_bytes(uint64_t chunks)
{
	uint64_t slabs = (chunks + SLAB_CHUNKS - 1) / SLAB_CHUNKS;
	return chunks * (sizeof(struct chunk) + sizeof(uint32_t)) + slabs * sizeof(uint64_t);
}

static uint64_t directory_bytes(const struct page_table *table)
{
	return table->directory_chunks * sizeof(uint32_t) +
	       table->block_count * sizeof(struct block);
}

void page_table_set_blocks(struct page_table *table, const uint64_t *pages_of_block,
			   uint32_t blocks)
{
	g_return_if_fail(!table->blocks);
	if ((uint64_t) blocks * sizeof(struct block) > table->bytes_max)
		return;
	struct block *made = g_new0(struct block, (gsize) blocks + 1);
	uint64_t chunks = 0;
	for (uint32_t i = 0; i < blocks && chunks <= CHUNKS_MAX; i++) {
		made[i].pages = pages_of_block[i];
		made[i].first_chunk = chunks;
		chunks += pages_of_block[i] / PAGE_TABLE_CHUNK +
			  !!(pages_of_block[i] % PAGE_TABLE_CHUNK);
	}
	uint64_t fixed_bytes = chunks * sizeof(uint32_t) + blocks * sizeof(struct block);
	if (chunks > CHUNKS_MAX || fixed_bytes > table->bytes_max) {
		g_free(made);
		return;
	}
	table->blocks = made;
	table->block_count = blocks;
	table->directory_chunks = chunks;
	table->directory = g_new0(uint32_t, (gsize) chunks + 1);
	uint64_t most = (table->bytes_max - fixed_bytes) / stored_bytes(SLAB_CHUNKS) * SLAB_CHUNKS;
	table->stored_max = (uint32_t) MIN(most, chunks);
}

void page_table_clear(struct page_table *table)
{
	storage_free(table);
	if (table->directory)
		memset(table->directory, 0, table->directory_chunks * sizeof(uint32_t));
}

uint64_t page_table_bytes(const struct page_table *table)
{
	return directory_bytes(table) + stored_bytes(table->stored_made);
}

static struct chunk *storage_at(const struct page_table *table, uint32_t number)
{
	return &table->slabs[number / SLAB_CHUNKS][number % SLAB_CHUNKS];
}

static void storage_grow(struct page_table *table)
{
	uint32_t slab = table->stored_made / SLAB_CHUNKS;
	uint32_t more = MIN(SLAB_CHUNKS, table->stored_max - table->stored_made);
	if (!table->slabs) {
		uint32_t slabs_max = (table->stored_max + SLAB_CHUNKS - 1) / SLAB_CHUNKS;
		table->slabs = g_new0(struct chunk *, slabs_max);
	}
	table->slabs[slab] = g_new(struct chunk, more);
	table->unused = g_renew(uint32_t, table->unused, table->stored_made + more);
	for (uint32_t i = more; i-- > 0;)
		table->unused[table->unused_count++] = table->stored_made + i;
	table->stored_made += more;
}

/* Storage in which every page is unknown; NO_STORAGE when all is in use. */
static uint32_t storage_take(struct page_table *table)
{
	if (table->unused_count == 0 && table->stored_made < table->stored_max)
		storage_grow(table);
	if (table->unused_count == 0)
		return NO_STORAGE;
	uint32_t number = table->unused[--table->unused_count];
	struct chunk *chunk = storage_at(table, number);
	memset(chunk->known, 0, sizeof(chunk->known));
	memset(chunk->content, 0, sizeof(chunk->content));
	return number;
}

static void storage_give_back(struct page_table *table, uint32_t number)
{
	table->unused[table->unused_count++] = number;
}

static inline unsigned run_first(uint32_t entry)
{
	return entry & 0xffff;
}

static inline unsigned run_end(uint32_t entry)
{
	return entry >> 16;
}

static inline uint32_t run_make(unsigned first, unsigned end)
{
	return first < end ? end << 16 | first : 0;
}

static inline unsigned run_length(uint32_t entry)
{
	return run_end(entry) - run_first(entry);
}

static inline bool bit_get(const uint64_t *words, unsigned bit)
{
	return words[bit / 64] >> bit % 64 & 1;
}

static void bits_fill(uint64_t *words, unsigned first, unsigned end, bool value)
{
	while (first < end) {
		unsigned n = MIN(end - first, 64 - first % 64);
		uint64_t mask = ~UINT64_C(0) >> (64 - n) << first % 64;
		if (value)
			words[first / 64] |= mask;
		else
			words[first / 64] &= ~mask;
		first += n;
	}
}

static bool bits_all(const uint64_t *words, unsigned count, bool value)
{
	for (unsigned i = 0; i < count; i += 64) {
		uint64_t mask = count - i < 64 ? ~(~UINT64_C(0) << (count - i)) : ~UINT64_C(0);
		if ((words[i / 64] & mask) != (value ? mask : 0))
			return false;
	}
	return true;
}

/* Where a page's chunk is and what is in it. */
struct spot {
	uint32_t *entry;
	unsigned page; /* in the chunk */
	unsigned size; /* pages of the chunk: the last one of a block may be shorter */
};

static bool spot_find(const struct page_table *table, uint32_t block, uint64_t page,
		      struct spot *spot)
{
	if (block >= table->block_count || page >= table->blocks[block].pages)
		return false;
	const struct block *in = &table->blocks[block];
	uint64_t chunk = page / PAGE_TABLE_CHUNK;
	spot->entry = &table->directory[in->first_chunk + chunk];
	spot->page = (unsigned) (page % PAGE_TABLE_CHUNK);
	spot->size = (unsigned) MIN(in->pages - chunk * PAGE_TABLE_CHUNK, PAGE_TABLE_CHUNK);
	return true;
}

bool page_table_get(const struct page_table *table, uint32_t block, uint64_t page,
		    struct page_entry *out)
{
	struct spot spot;
	*out = (struct page_entry){ .kind = PAGE_UNKNOWN };
	if (!spot_find(table, block, page, &spot))
		return false;
	if (!(*spot.entry & STORED)) {
		if (spot.page >= run_first(*spot.entry) && spot.page < run_end(*spot.entry))
			out->kind = PAGE_ZERO;
		return out->kind != PAGE_UNKNOWN;
	}
	const struct chunk *chunk = storage_at(table, *spot.entry & ~STORED);
	if (!bit_get(chunk->known, spot.page))
		return false;
	out->kind = PAGE_ZERO;
	if (bit_get(chunk->content, spot.page)) {
		out->kind = PAGE_CONTENT;
		out->tag = chunk->tag[spot.page];
		out->place = chunk->place[spot.page];
	}
	return true;
}

/* Storage for a chunk that has none, with the zeros it knows; NULL when there is none left. */
static struct chunk *spot_store(struct page_table *table, const struct spot *spot)
{
	if (*spot->entry & STORED)
		return storage_at(table, *spot->entry & ~STORED);
	uint32_t number = storage_take(table);
	if (number == NO_STORAGE)
		return NULL;
	struct chunk *chunk = storage_at(table, number);
	bits_fill(chunk->known, run_first(*spot->entry), run_end(*spot->entry), true);
	*spot->entry = STORED | number;
	return chunk;
}

/* A chunk that is all zeros or all unknown needs no storage. */
static void spot_tidy(struct page_table *table, const struct spot *spot, const struct chunk *chunk)
{
	if (!bits_all(chunk->content, spot->size, false))
		return;
	bool all_zero = bits_all(chunk->known, spot->size, true);
	if (!all_zero && !bits_all(chunk->known, spot->size, false))
		return;
	storage_give_back(table, *spot->entry & ~STORED);
	*spot->entry = all_zero ? run_make(0, spot->size) : 0;
}

static bool spot_splits_run(const struct spot *spot)
{
	return !(*spot->entry & STORED) && spot->page > run_first(*spot->entry) &&
	       spot->page + 1 < run_end(*spot->entry);
}

/* The page is unknown from now on. */
static void spot_forget(struct page_table *table, const struct spot *spot)
{
	if (spot_splits_run(spot))
		spot_store(table, spot);
	uint32_t entry = *spot->entry;
	if (entry & STORED) {
		struct chunk *chunk = storage_at(table, entry & ~STORED);
		bits_fill(chunk->known, spot->page, spot->page + 1, false);
		bits_fill(chunk->content, spot->page, spot->page + 1, false);
		spot_tidy(table, spot, chunk);
	} else if (spot->page >= run_first(entry) && spot->page < run_end(entry)) {
		uint32_t before = run_make(run_first(entry), spot->page);
		uint32_t after = run_make(spot->page + 1, run_end(entry));
		*spot->entry = run_length(after) > run_length(before) ? after : before;
	}
}

static void spot_put_zeros(struct page_table *table, const struct spot *spot, unsigned end)
{
	uint32_t entry = *spot->entry, run = run_make(spot->page, end);
	if (!(entry & STORED)) {
		if (entry == 0 || run_length(run) == spot->size) {
			*spot->entry = run;
			return;
		}
		if (spot->page <= run_end(entry) && end >= run_first(entry)) {
			*spot->entry = run_make(MIN(spot->page, run_first(entry)),
						MAX(end, run_end(entry)));
			return;
		}
	}
	struct chunk *chunk = spot_store(table, spot);
	if (!chunk) {
		bool later = run_first(run) > run_first(entry);
		if (run_length(run) + !later > run_length(entry))
			*spot->entry = run;
		return;
	}
	bits_fill(chunk->known, spot->page, end, true);
	bits_fill(chunk->content, spot->page, end, false);
	spot_tidy(table, spot, chunk);
}

void page_table_put(struct page_table *table, uint32_t block, uint64_t page,
		    const struct page_entry *entry)
{
	struct spot spot;
	if (!spot_find(table, block, page, &spot))
		return;
	if (entry->kind == PAGE_ZERO) {
		spot_put_zeros(table, &spot, spot.page + 1);
		return;
	}
	struct chunk *chunk = entry->kind == PAGE_CONTENT ? spot_store(table, &spot) : NULL;
	if (!chunk) {
		spot_forget(table, &spot);
		return;
	}
	bits_fill(chunk->known, spot.page, spot.page + 1, true);
	bits_fill(chunk->content, spot.page, spot.page + 1, true);
	chunk->tag[spot.page] = entry->tag;
	chunk->place[spot.page] = entry->place;
}

void page_table_put_zero_run(struct page_table *table, uint32_t block, uint64_t first,
			     uint64_t count)
{
	struct spot spot;
	while (count > 0 && spot_find(table, block, first, &spot)) {
		unsigned n = (unsigned) MIN(count, spot.size - spot.page);
		spot_put_zeros(table, &spot, spot.page + n);
		first += n;
		count -= n;
	}
}

/* The pages from SPOT to END of its chunk. */
static bool spot_is_zero(const struct page_table *table, const struct spot *spot, unsigned end)
{
	uint32_t entry = *spot->entry;
	if (!(entry & STORED))
		return spot->page >= run_first(entry) && end <= run_end(entry);
	const struct chunk *chunk = storage_at(table, entry & ~STORED);
	for (unsigned page = spot->page; page < end; page++)
		if (!bit_get(chunk->known, page) || bit_get(chunk->content, page))
			return false;
	return true;
}

bool page_table_is_zero(const struct page_table *table, uint32_t block, uint64_t first,
			uint64_t count)
{
	struct spot spot;
	while (count > 0) {
		if (!spot_find(table, block, first, &spot))
			return false;
		unsigned n = (unsigned) MIN(count, spot.size - spot.page);
		if (!spot_is_zero(table, &spot, spot.page + n))
			return false;
		first += n;
		count -= n;
	}
	return true;
}

bool page_table_is_mixed(const struct page_table *table, uint32_t block, uint64_t page)
{
	struct spot spot;
	return spot_find(table, block, page, &spot) && (*spot.entry & STORED);
}
