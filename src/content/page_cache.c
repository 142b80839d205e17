/* SPDX-License-Identifier: Apache-2.0 */
#include "content/page_cache.h"

#include <glib.h>
#include <string.h>
#include <sys/mman.h>

struct page_cache {
	uint64_t bytes_max;
	uint8_t *slots;
	size_t mapped;
	uint32_t page_bytes, count; /* 0: nothing added yet */
	uint32_t last;              /* place of the newest */
};

struct page_cache *page_cache_new(uint64_t bytes_max)
{
	struct page_cache *cache = g_new0(struct page_cache, 1);
	cache->bytes_max = bytes_max;
	return cache;
}

static void clear(struct page_cache *cache)
{
	if (cache->slots)
		munmap(cache->slots, cache->mapped);
	*cache = (struct page_cache){ .bytes_max = cache->bytes_max };
}

void page_cache_free(struct page_cache *cache)
{
	if (!cache)
		return;
	clear(cache);
	g_free(cache);
}

static void set_page_size(struct page_cache *cache, uint32_t page_bytes)
{
	clear(cache);
	cache->page_bytes = page_bytes;
	cache->count = (uint32_t) MIN(cache->bytes_max / page_bytes, UINT32_MAX / 2);
	cache->mapped = (size_t) cache->count * page_bytes;
	if (!cache->count)
		return;
	void *slots = mmap(NULL, cache->mapped, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (slots == MAP_FAILED)
		g_error("no address space for a cache of %" G_GSIZE_FORMAT " bytes", cache->mapped);
	cache->slots = slots;
}

static uint8_t *slot_of(const struct page_cache *cache, uint32_t place)
{
	return cache->slots + (size_t) (place % cache->count) * cache->page_bytes;
}

uint32_t page_cache_add(struct page_cache *cache, const uint8_t *page, uint32_t page_bytes)
{
	if (cache->page_bytes != page_bytes)
		set_page_size(cache, page_bytes);
	/* Places are not used twice: 2^32 literals of 4 KiB are 16 TiB, then it is over. */
	if (!cache->count || cache->last == UINT32_MAX)
		return 0;
	cache->last++;
	memcpy(slot_of(cache, cache->last), page, page_bytes);
	return cache->last;
}

const uint8_t *page_cache_get(const struct page_cache *cache, uint32_t place, uint32_t page_bytes)
{
	if (!place || place > cache->last || page_bytes != cache->page_bytes ||
	    cache->last - place >= cache->count)
		return NULL;
	return slot_of(cache, place);
}
