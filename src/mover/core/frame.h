/* SPDX-License-Identifier: Apache-2.0 */
/* A batch in a frame of the link.
 *
 *   flags    bits 0-3 kind of the batch, 4-7 method of the codec, 8-15 the codec's stream
 *   payload  length of the body (3 bytes, little-endian), the packed body
 *   tag      of the content (content/batch.h)
 */
#pragma once
#include "content/batch.h"
#include "content/codec.h"
#include "content/known.h"

#define FRAME_HEAD 3
#define FRAME_STREAMS 2 /* codec streams; the workers beyond pack each batch alone */

/* The window of each stream: their share of the memory limit, at most 2^25. */
static inline int frame_window_log(uint64_t memory_limit)
{
	uint64_t share = known_sizes_for(memory_limit).stream_windows / FRAME_STREAMS;
	int log = 63 - __builtin_clzll(share | 1);
	return log < CODEC_WINDOW_LOG_MIN ? CODEC_WINDOW_LOG_MIN : log > 25 ? 25 : log;
}

struct frame_head {
	enum batch_kind kind;
	enum codec_method method;
	unsigned stream;
	uint32_t body;
};

static inline uint32_t frame_flags(const struct frame_head *head)
{
	return (uint32_t) head->kind | (uint32_t) head->method << 4 | (uint32_t) head->stream << 8;
}

static inline void frame_put_head(uint8_t *payload, const struct frame_head *head)
{
	payload[0] = (uint8_t) head->body;
	payload[1] = (uint8_t) (head->body >> 8);
	payload[2] = (uint8_t) (head->body >> 16);
}

/* False when it cannot be a frame of ours. */
static inline bool frame_get_head(uint32_t flags, const uint8_t *payload, size_t length,
				  struct frame_head *head)
{
	if (length < FRAME_HEAD)
		return false;
	*head = (struct frame_head){ .kind = (enum batch_kind)(flags & 15),
				     .method = (enum codec_method)(flags >> 4 & 15),
				     .stream = flags >> 8 & 255,
				     .body = payload[0] | (uint32_t) payload[1] << 8 |
					     (uint32_t) payload[2] << 16 };
	return !(flags >> 16) && head->kind < BATCH_KIND_LAST && head->method < CODEC_METHOD_LAST &&
	       head->stream < FRAME_STREAMS && head->body <= BATCH_BODY_MAX;
}
