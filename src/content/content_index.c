/* SPDX-License-Identifier: Apache-2.0 */
/* A lossy bounded map from tags to places: one cache line a bucket. */
#include "content/content_index.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/mman.h>

#define ENTRIES 5

/* Entries with a place come first, the newest at the front. */
struct bucket {
	uint64_t tag[ENTRIES];
	uint32_t place[ENTRIES];
	uint32_t unused;
};

_Static_assert(sizeof(struct bucket) == 64, "a bucket is a cache line");

struct content_index {
	struct bucket *buckets;
	uint64_t count;
};

struct content_index *content_index_new(uint64_t bytes_max)
{
	struct content_index *index = g_new0(struct content_index, 1);
	index->count = bytes_max / sizeof(struct bucket);
	if (index->count == 0)
		return index;
	/* Zero pages that appear as they are written. */
	index->buckets = mmap(NULL, index->count * sizeof(struct bucket), PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (index->buckets == MAP_FAILED)
		g_error("no memory for an index of %" G_GUINT64_FORMAT " bytes: %s", bytes_max,
			g_strerror(errno));
	return index;
}

void content_index_free(struct content_index *index)
{
	if (!index)
		return;
	if (index->buckets)
		munmap(index->buckets, index->count * sizeof(struct bucket));
	g_free(index);
}

uint64_t content_index_bytes(const struct content_index *index)
{
	return index->count * sizeof(struct bucket);
}

static inline struct bucket *bucket_of(const struct content_index *index, uint64_t tag)
{
	return &index->buckets[(uint64_t) ((unsigned __int128) tag * index->count >> 64)];
}

/* ENTRIES when it is not there; an entry without a place may be found, which is as good. */
static inline unsigned bucket_find(const struct bucket *bucket, uint64_t tag)
{
	unsigned i = 0;
	while (i < ENTRIES && bucket->tag[i] != tag)
		i++;
	return i;
}

uint32_t content_index_get(const struct content_index *index, uint64_t tag)
{
	if (index->count == 0)
		return CONTENT_INDEX_NONE;
	const struct bucket *bucket = bucket_of(index, tag);
	unsigned i = bucket_find(bucket, tag);
	return i < ENTRIES ? bucket->place[i] : CONTENT_INDEX_NONE;
}

static void bucket_move(struct bucket *bucket, unsigned to, unsigned from, unsigned count)
{
	memmove(&bucket->tag[to], &bucket->tag[from], count * sizeof(bucket->tag[0]));
	memmove(&bucket->place[to], &bucket->place[from], count * sizeof(bucket->place[0]));
}

void content_index_put(struct content_index *index, uint64_t tag, uint32_t place)
{
	if (index->count == 0)
		return;
	struct bucket *bucket = bucket_of(index, tag);
	unsigned i = bucket_find(bucket, tag);
	if (place == CONTENT_INDEX_NONE) {
		if (i == ENTRIES)
			return;
		bucket_move(bucket, i, i + 1, ENTRIES - 1 - i);
		bucket->place[ENTRIES - 1] = CONTENT_INDEX_NONE;
		return;
	}
	/* Over the old entry of this tag, or over the oldest one of all. */
	bucket_move(bucket, 1, 0, MIN(i, ENTRIES - 1));
	bucket->tag[0] = tag;
	bucket->place[0] = place;
}
