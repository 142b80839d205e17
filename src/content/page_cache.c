/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of the contents that travelled last. */
#include "content/page_cache.h"

#include <glib.h>
#include <lz4.h>
#include <string.h>
#include <sys/mman.h>

#define PACKED_RATIO_MAX 6 /* bounds the list of packed pages; better ones waste a little room */

#define LZ4_ACCELERATION 8 /* half the time of 1, and 15 % less packed */

/* Where a packed page lies; length == page_bytes: as it is. */
struct packed {
	uint64_t at; /* counted from the beginning of time */
	uint32_t length;
};

/* Places run: gone ... packed_first ... raw_first ... last. */
struct page_cache {
	uint64_t bytes_max;
	bool destination;
	uint32_t page_bytes; /* 0: nothing added yet */
	uint32_t last;

	uint8_t *raw; /* ring of raw_count pages, by place */
	uint32_t raw_count;

	uint8_t *packed; /* ring of packed_bytes; no page lies across its end */
	uint64_t packed_bytes, packed_end;
	struct packed *list;                            /* ring of list_count, by place */
	uint32_t list_count, packed_first, packed_last; /* first > last: none */
	uint8_t *scratch;
};

struct page_cache *page_cache_new(uint64_t bytes_max, bool destination)
{
	struct page_cache *cache = g_new0(struct page_cache, 1);
	cache->bytes_max = bytes_max;
	cache->destination = destination;
	cache->packed_first = 1;
	return cache;
}

static void unmap(uint8_t *bytes, size_t length)
{
	if (bytes)
		munmap(bytes, length);
}

static void clear_place(struct page_cache *cache)
{
	unmap(cache->raw, (size_t) cache->raw_count * cache->page_bytes);
	unmap(cache->packed, cache->packed_bytes);
	g_free(cache->list);
	g_free(cache->scratch);
	*cache = (struct page_cache){ .bytes_max = cache->bytes_max,
				      .destination = cache->destination,
				      .packed_first = 1 };
}

void page_cache_free(struct page_cache *cache)
{
	if (!cache)
		return;
	clear_place(cache);
	g_free(cache);
}

static uint8_t *map(size_t length)
{
	if (!length)
		return NULL;
	void *bytes = mmap(NULL, length, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bytes == MAP_FAILED)
		g_error("no address space for a cache of %" G_GSIZE_FORMAT " bytes", length);
	return bytes;
}

static void set_page_size(struct page_cache *cache, uint32_t page_bytes)
{
	clear_place(cache);
	uint64_t half = cache->bytes_max / 2;
	cache->page_bytes = page_bytes;
	cache->raw_count = (uint32_t) MIN(half / page_bytes, UINT32_MAX / 4);
	cache->raw = map((size_t) cache->raw_count * page_bytes);
	cache->list_count = (uint32_t) MIN(half / page_bytes * PACKED_RATIO_MAX, UINT32_MAX / 4);
	cache->packed_bytes = half - (uint64_t) cache->list_count * sizeof(struct packed);
	if (half < (uint64_t) page_bytes * 8)
		cache->list_count = 0;
	if (!cache->list_count)
		return;
	if (cache->destination)
		cache->packed_bytes += cache->bytes_max / 16;
	cache->packed = map(cache->packed_bytes);
	cache->list = g_new0(struct packed, cache->list_count);
	cache->scratch = g_malloc(MAX((size_t) LZ4_compressBound((int) page_bytes), page_bytes));
}

static uint8_t *raw_at(const struct page_cache *cache, uint32_t place)
{
	return cache->raw + (size_t) (place % cache->raw_count) * cache->page_bytes;
}

static struct packed *packed_at(const struct page_cache *cache, uint32_t place)
{
	return &cache->list[place % cache->list_count];
}

/* LENGTH bytes in a row, the oldest pages give way. */
static uint64_t make_room(struct page_cache *cache, uint32_t length)
{
	uint64_t at = cache->packed_end;
	uint64_t to_wrap = cache->packed_bytes - at % cache->packed_bytes;
	if (to_wrap < length)
		at += to_wrap;
	while (cache->packed_first <= cache->packed_last &&
	       (packed_at(cache, cache->packed_first)->at + cache->packed_bytes < at + length ||
		cache->packed_last - cache->packed_first + 1 >= cache->list_count))
		cache->packed_first++;
	cache->packed_end = at + length;
	return at;
}

/* The page at PLACE leaves the ring of raw ones. */
static void pack_place(struct page_cache *cache, uint32_t place)
{
	const uint8_t *page = raw_at(cache, place), *from = cache->scratch;
	if (!cache->list_count)
		return;
	int length = LZ4_compress_fast((const char *) page, (char *) cache->scratch,
				       (int) cache->page_bytes, (int) cache->page_bytes - 1,
				       LZ4_ACCELERATION);
	if (length <= 0) {
		length = (int) cache->page_bytes;
		from = page;
	}
	uint64_t at = make_room(cache, (uint32_t) length);
	memcpy(cache->packed + at % cache->packed_bytes, from, (size_t) length);
	cache->packed_last = place;
	*packed_at(cache, place) = (struct packed){ at, (uint32_t) length };
}

uint32_t page_cache_add(struct page_cache *cache, const uint8_t *page, uint32_t page_bytes)
{
	if (cache->page_bytes != page_bytes)
		set_page_size(cache, page_bytes);
	/* Places are not used twice: 2^32 literals of 4 KiB are 16 TiB, then it is over. */
	if (!cache->raw_count || cache->last == UINT32_MAX)
		return 0;
	cache->last++;
	if (cache->last > cache->raw_count)
		pack_place(cache, cache->last - cache->raw_count);
	memcpy(raw_at(cache, cache->last), page, page_bytes);
	return cache->last;
}

const uint8_t *page_cache_get(struct page_cache *cache, uint32_t place, uint32_t page_bytes)
{
	if (!place || place > cache->last || page_bytes != cache->page_bytes)
		return NULL;
	if (cache->last - place < cache->raw_count)
		return raw_at(cache, place);
	if (place < cache->packed_first || place > cache->packed_last)
		return NULL;
	const struct packed *packed = packed_at(cache, place);
	const uint8_t *bytes = cache->packed + packed->at % cache->packed_bytes;
	if (packed->length == page_bytes)
		return bytes;
	if (LZ4_decompress_safe((const char *) bytes, (char *) cache->scratch, (int) packed->length,
				(int) page_bytes) != (int) page_bytes)
		return NULL; /* cannot be: it was packed here */
	return cache->scratch;
}
