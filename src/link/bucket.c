/* SPDX-License-Identifier: Apache-2.0 */
/* The bandwidth cap's arithmetic; see bucket.h. */
#include "link/bucket.h"

#include <glib.h>

static void fill_bucket(struct bucket *bucket, int64_t now_us)
{
	double rate = (double) bucket->rate / 1e6; /* bytes a microsecond */
	bucket->tokens += (double) (now_us - bucket->filled_us) * rate;
	bucket->tokens = MIN(bucket->tokens, BUCKET_BURST_US * rate);
	bucket->filled_us = now_us;
}

void bucket_set_rate(struct bucket *bucket, uint64_t rate, int64_t now_us)
{
	if (bucket->rate)
		fill_bucket(bucket, now_us);
	bucket->rate = rate;
	bucket->filled_us = now_us;
	/* A debt made at a high rate would be a long silence at a low one. */
	bucket->tokens = MAX(bucket->tokens, -(double) rate * BUCKET_BURST_US / 1e6);
}

int64_t bucket_wait_us(struct bucket *bucket, int64_t now_us)
{
	if (!bucket->rate)
		return 0;
	fill_bucket(bucket, now_us);
	if (bucket->tokens > 0)
		return 0;
	return 1 + (int64_t) (-bucket->tokens * 1e6 / (double) bucket->rate);
}

void bucket_pay(struct bucket *bucket, uint64_t socket_bytes)
{
	if (bucket->rate)
		bucket->tokens -= (double) socket_bytes * BUCKET_OVERHEAD;
}
