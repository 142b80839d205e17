/* SPDX-License-Identifier: Apache-2.0 */
/* Frames and their memory; see pool.h. */
#include "link/pool.h"

#include <stdlib.h>
#include <string.h>

#define ALIGN 64
#define DATA_OFFSET ((sizeof(struct frame) + WIRE_HEADER_BYTES + ALIGN - 1) / ALIGN * ALIGN)

_Static_assert(POOL_SMALLEST << (POOL_CLASSES - 1) == LINK_PAYLOAD_MAX,
	       "the last class is a frame");

static size_t class_room(unsigned class)
{
	return (size_t) POOL_SMALLEST << class;
}

static unsigned class_of(size_t length)
{
	unsigned class = 0;
	while (class_room(class) < length)
		class ++;
	return class;
}

size_t pool_room(const struct frame *frame)
{
	return class_room(frame->class);
}

void pool_init(struct pool *pool, size_t kept_max)
{
	*pool = (struct pool){ .kept_max = kept_max };
	pthread_mutex_init(&pool->lock, NULL);
}

void pool_destroy(struct pool *pool)
{
	for (unsigned i = 0; i < POOL_CLASSES; i++) {
		while (pool->free[i]) {
			struct frame *frame = pool->free[i];
			pool->free[i] = frame->next_free;
			free(frame);
		}
	}
	pthread_mutex_destroy(&pool->lock);
}

struct frame *pool_get(struct pool *pool, size_t length)
{
	unsigned class = class_of(length);
	pthread_mutex_lock(&pool->lock);
	struct frame *frame = pool->free[class];
	if (frame) {
		pool->free[class] = frame->next_free;
		pool->kept_bytes -= class_room(class);
	}
	pthread_mutex_unlock(&pool->lock);

	if (!frame)
		frame = aligned_alloc(ALIGN, DATA_OFFSET + class_room(class));
	if (!frame)
		g_error("out of memory: a frame of %zu bytes", class_room(class));
	*frame = (struct frame){ .class = class, .lane = -1 };
	frame->public.data = (uint8_t *) frame + DATA_OFFSET;
	return frame;
}

void pool_put(struct pool *pool, struct frame *frame)
{
	size_t room = class_room(frame->class);
	pthread_mutex_lock(&pool->lock);
	bool keep = pool->kept_bytes + room <= pool->kept_max;
	if (keep) {
		frame->next_free = pool->free[frame->class];
		pool->free[frame->class] = frame;
		pool->kept_bytes += room;
	}
	pthread_mutex_unlock(&pool->lock);
	if (!keep)
		free(frame);
}

struct frame *pool_shrink(struct pool *pool, struct frame *frame)
{
	if (class_of(frame->public.length) == frame->class)
		return frame;
	struct frame *small = pool_get(pool, frame->public.length);
	struct frame kept = *small;
	*small = *frame;
	small->class = kept.class;
	small->public.data = kept.public.data;
	memcpy(small->public.data, frame->public.data, frame->public.length);
	pool_put(pool, frame);
	return small;
}
