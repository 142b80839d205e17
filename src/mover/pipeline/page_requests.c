/* SPDX-License-Identifier: Apache-2.0 */
/* Follows the guest's requests for pages in post-copy. */
#include "mover/pipeline/page_requests.h"

#include "base/be.h"
#include "base/clock.h"

#include <pthread.h>
#include <string.h>

#define BUCKETS 40 /* of half powers of two: from 1 us to 17 minutes */

enum stage { ANSWERED, SENT, ARRIVED, STAGES };
static const char *const stage_names[] = { "answered", "sent", "arrived" };
_Static_assert(G_N_ELEMENTS(stage_names) == STAGES, "one name for each stage");

struct times {
	uint64_t count, sum_us;
	int64_t most_us;
	uint64_t buckets[2 * BUCKETS];
};

struct question {
	uint32_t block;
	uint64_t start, end; /* bytes in the block */
	int64_t at_us;
};

struct under_way {
	uint64_t frame;
	int64_t at_us;
};

struct page_requests {
	pthread_mutex_t lock;
	/* all under it */
	uint64_t asked;
	uint32_t block; /* of the last question */
	struct question open[REQUESTS_MAX];
	unsigned open_count;
	struct under_way sent[REQUESTS_MAX]; /* in the order of frames */
	unsigned sent_count;
	struct times times[STAGES];
};

struct page_requests *page_requests_new(void)
{
	struct page_requests *requests = g_new0(struct page_requests, 1);
	pthread_mutex_init(&requests->lock, NULL);
	requests->block = BATCH_NO_BLOCK;
	return requests;
}

void page_requests_free(struct page_requests *requests)
{
	if (!requests)
		return;
	pthread_mutex_destroy(&requests->lock);
	g_free(requests);
}

/* Twice the logarithm to base two. */
static unsigned bucket_of(int64_t us)
{
	unsigned log = 0;
	for (uint64_t left = (uint64_t) MAX(us, 1); left > 1; left >>= 1)
		log++;
	bool upper = log > 0 && (uint64_t) us >> (log - 1) & 1;
	return MIN(2 * log + upper, 2 * BUCKETS - 1);
}

static void note_answer(struct times *times, int64_t us)
{
	times->count++;
	times->sum_us += (uint64_t) MAX(us, 0);
	times->most_us = MAX(times->most_us, us);
	times->buckets[bucket_of(us)]++;
}

static uint32_t find_block(const struct stream_block *blocks, uint32_t count, const uint8_t *name,
			   size_t length)
{
	for (uint32_t i = 0; i < count; i++)
		if (strlen(blocks[i].name) == length && !memcmp(blocks[i].name, name, length))
			return i;
	return BATCH_NO_BLOCK;
}

/* u64 start, u32 length, and with the name of the block: u8 n, n bytes. */
void page_requests_ask(struct page_requests *requests, const struct return_message *message,
		       const struct stream_block *blocks, uint32_t count)
{
	const uint8_t *data = message->bytes + 4;
	size_t length = message->length - 4;
	bool named = message->type == RETURN_REQUEST_PAGES_ID;
	if ((!named && message->type != RETURN_REQUEST_PAGES) || length < 12 ||
	    (named && (length < 13 || length < 13u + data[12])))
		return;
	pthread_mutex_lock(&requests->lock);
	if (named)
		requests->block = find_block(blocks, count, data + 13, data[12]);
	requests->asked++;
	/* Many are for pages that are on their way already: never answered, and forgotten here. */
	if (requests->open_count == REQUESTS_MAX)
		memmove(requests->open, requests->open + 1,
			--requests->open_count * sizeof(requests->open[0]));
	if (requests->block != BATCH_NO_BLOCK)
		requests->open[requests->open_count++] =
			(struct question){ .block = requests->block,
					   .start = be_get64(data),
					   .end = be_get64(data) + be_get32(data + 8),
					   .at_us = clock_now_us() };
	pthread_mutex_unlock(&requests->lock);
}

static bool answers(const struct batch *batch, const struct question *question)
{
	uint64_t first = question->start / batch->page_bytes;
	uint64_t end = (question->end + batch->page_bytes - 1) / batch->page_bytes;
	for (uint32_t i = 0; i < batch->count; i++) {
		const struct item *item = &batch->items[i];
		bool page = item->kind == ITEM_LITERAL || item->kind == ITEM_ZERO;
		if (page && item->block == question->block && item->page < end &&
		    item->page + item->count > first)
			return true;
	}
	return false;
}

void page_requests_answer(struct page_requests *requests, struct batch *batch)
{
	pthread_mutex_lock(&requests->lock);
	int64_t now = requests->open_count ? clock_now_us() : 0;
	for (unsigned i = 0; i < requests->open_count;) {
		const struct question *question = &requests->open[i];
		if (!answers(batch, question)) {
			i++;
			continue;
		}
		note_answer(&requests->times[ANSWERED], now - question->at_us);
		if (!batch->asked_us || question->at_us < batch->asked_us)
			batch->asked_us = question->at_us;
		memmove(requests->open + i, requests->open + i + 1,
			(--requests->open_count - i) * sizeof(requests->open[0]));
	}
	pthread_mutex_unlock(&requests->lock);
}

void page_requests_sent(struct page_requests *requests, const struct batch *batch, uint64_t frame)
{
	if (!batch->asked_us)
		return;
	pthread_mutex_lock(&requests->lock);
	note_answer(&requests->times[SENT], clock_now_us() - batch->asked_us);
	if (requests->sent_count < REQUESTS_MAX)
		requests->sent[requests->sent_count++] =
			(struct under_way){ frame, batch->asked_us };
	pthread_mutex_unlock(&requests->lock);
}

void page_requests_arrived(struct page_requests *requests, uint64_t consumed)
{
	unsigned done = 0;
	pthread_mutex_lock(&requests->lock);
	int64_t now = requests->sent_count ? clock_now_us() : 0;
	while (done < requests->sent_count && requests->sent[done].frame <= consumed)
		note_answer(&requests->times[ARRIVED], now - requests->sent[done++].at_us);
	requests->sent_count -= done;
	memmove(requests->sent, requests->sent + done,
		requests->sent_count * sizeof(requests->sent[0]));
	pthread_mutex_unlock(&requests->lock);
}

bool page_requests_are_under_way(struct page_requests *requests)
{
	pthread_mutex_lock(&requests->lock);
	bool some = requests->sent_count > 0;
	pthread_mutex_unlock(&requests->lock);
	return some;
}

/* The upper end of the bucket that has it. */
static int64_t percentile_us(const struct times *times, unsigned percent)
{
	uint64_t seen = 0;
	for (unsigned i = 0; i < 2 * BUCKETS; i++) {
		seen += times->buckets[i];
		if (seen * 100 < times->count * percent)
			continue;
		int64_t low = (int64_t) 1 << (i / 2);
		return MIN(i % 2 ? 2 * low : low + low / 2, times->most_us);
	}
	return times->most_us;
}

JsonObject *page_requests_describe(struct page_requests *requests)
{
	JsonObject *object = NULL;
	pthread_mutex_lock(&requests->lock);
	if (requests->asked) {
		object = json_object_new();
		json_object_set_int_member(object, "requests", (gint64) requests->asked);
	}
	for (unsigned i = 0; object && i < STAGES; i++) {
		const struct times *times = &requests->times[i];
		JsonObject *stage = json_object_new();
		json_object_set_int_member(stage, "count", (gint64) times->count);
		json_object_set_int_member(stage, "mean_us",
					   times->count ? (gint64) (times->sum_us / times->count)
							: 0);
		json_object_set_int_member(stage, "p95_us", percentile_us(times, 95));
		json_object_set_int_member(stage, "most_us", times->most_us);
		json_object_set_object_member(object, stage_names[i], stage);
	}
	pthread_mutex_unlock(&requests->lock);
	return object;
}
