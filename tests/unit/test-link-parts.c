/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the link that know no socket: window, cap, frames' memory, queue, reordering. */
#include <string.h>

#include "link/bucket.h"
#include "link/pool.h"
#include "link/queue.h"
#include "link/reorder.h"
#include "link/window.h"

#define MIB (1024 * 1024)

/* ---- the window on a simulated path, a microsecond clock ---- */

struct path {
	double rate;      /* bytes a second of the narrowest place */
	int64_t round_us; /* there and back when empty */
	uint64_t frame;   /* bytes */
	int64_t pause_us; /* the sender has a new frame this often at most; 0: always */
};

struct outcome {
	double throughput, in_flight_ms; /* in the second half */
	uint64_t window;
};

/* The sender fills the window; the narrow place serves one frame after the other; each is consumed half
 * a round trip later and acknowledged another half later. */
static struct outcome simulate(struct window *window, const struct path *path, int64_t length_us)
{
	enum { IN_FLIGHT_MAX = 4096 };
	int64_t acks[IN_FLIGHT_MAX], free_us = 0, now_us = 0, next_us = 0;
	unsigned first = 0, last = 0;
	uint64_t in_flight = 0, done = 0, sum = 0, samples = 0;
	double service_us = (double) path->frame * 1e6 / path->rate;
	for (; now_us < length_us; now_us += 50) {
		while (first != last && acks[first % IN_FLIGHT_MAX] <= now_us) {
			if (in_flight >= window->size)
				window_limited(window);
			in_flight -= path->frame;
			window_consumed(window, path->frame, acks[first++ % IN_FLIGHT_MAX],
					path->round_us);
			if (now_us > length_us / 2)
				done += path->frame;
		}
		while (in_flight < window->size && now_us >= next_us) {
			if (in_flight == 0)
				window_restart(window, now_us);
			free_us = MAX(free_us, now_us) + (int64_t) service_us;
			acks[last++ % IN_FLIGHT_MAX] = free_us + path->round_us;
			in_flight += path->frame;
			next_us = path->pause_us ? now_us + path->pause_us : 0;
		}
		if (now_us > length_us / 2) {
			sum += in_flight;
			samples++;
		}
	}
	double rate = (double) done * 2e6 / (double) length_us;
	return (struct outcome){ .throughput = rate,
				 .in_flight_ms = (double) sum / (double) samples / rate * 1e3,
				 .window = window->size };
}

static void test_window_fills(void)
{
	static const struct path paths[] = {
		{ 125e6, 40000, 256 * 1024, 0 }, /* 1 Gbit/s, 40 ms */
		{ 125e6, 40000, 16 * 1024, 0 },  { 125e6, 200, 256 * 1024, 0 },
		{ 1250e6, 500, 256 * 1024, 0 },  { 12.5e6, 100000, 64 * 1024, 0 },
		{ 1.25e6, 20000, 32 * 1024, 0 },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
		struct window window;
		window_init(&window, WINDOW_MIN, 64 * MIB);
		struct outcome outcome = simulate(&window, &paths[i], 4000000);
		g_test_message("%.2f MB/s of %.2f, %.0f ms in flight, window %.2f MiB",
			       outcome.throughput / 1e6, paths[i].rate / 1e6, outcome.in_flight_ms,
			       (double) outcome.window / MIB);
		g_assert_cmpfloat(outcome.throughput, >, 0.97 * paths[i].rate);
		g_assert_cmpuint(outcome.window, <, 64 * MIB);
	}
}

/* At 100 Mbit/s on a short path some tens of milliseconds are in flight, not more. */
static void test_window_short(void)
{
	struct path path = { 12.5e6, 300, 128 * 1024, 0 };
	struct window window;
	window_init(&window, WINDOW_MIN, 64 * MIB);
	struct outcome outcome = simulate(&window, &path, 4000000);
	g_assert_cmpfloat(outcome.in_flight_ms, <, 50);
	/* The path became ten times narrower: the window follows. */
	path.rate /= 10;
	outcome = simulate(&window, &path, 8000000);
	g_assert_cmpuint(outcome.window, ==, WINDOW_MIN);
}

/* A sender with little to send does not make the path look slow. */
static void test_window_idle(void)
{
	struct path path = { 125e6, 40000, 256 * 1024, 0 };
	struct window window;
	window_init(&window, WINDOW_MIN, 64 * MIB);
	simulate(&window, &path, 2000000);
	uint64_t before = window.size;
	path.frame = 4096;
	path.pause_us = 50000;
	simulate(&window, &path, 2000000);
	g_assert_cmpuint(window.size, ==, before);
}

/* In a hurry some milliseconds are in flight, and the link is still busy. */
static void test_window_hurry(void)
{
	struct path path = { 12.5e6, 300, 32 * 1024, 0 };
	struct window window;
	window_init(&window, WINDOW_MIN, 64 * MIB);
	double before = simulate(&window, &path, 2000000).in_flight_ms;
	window_hurry(&window);
	struct outcome outcome = simulate(&window, &path, 4000000);
	g_assert_cmpfloat(outcome.in_flight_ms, <, 12);
	g_assert_cmpfloat(outcome.in_flight_ms, <, before / 2);
	g_assert_cmpfloat(window.rate, >, 0.9 * path.rate);
	/* a fixed one stays */
	window_init(&window, MIB, MIB);
	window_hurry(&window);
	g_assert_cmpuint(simulate(&window, &path, 2000000).window, ==, MIB);
}

static void test_window_bounds(void)
{
	struct path path = { 5e9, 100000, 256 * 1024, 0 };
	struct window window;
	window_init(&window, WINDOW_MIN, 8 * MIB);
	g_assert_cmpuint(simulate(&window, &path, 2000000).window, ==, 8 * MIB);
	window_init(&window, MIB, MIB);
	g_assert_cmpuint(simulate(&window, &path, 2000000).window, ==, MIB);
}

/* ---- the cap ---- */

static void test_bucket(void)
{
	struct bucket bucket = { 0 };
	g_assert_cmpint(bucket_wait_us(&bucket, 5), ==, 0);
	bucket_set_rate(&bucket, 10000000, 1000);
	double paid = 0, burst = 0, window_paid = 0;
	int64_t now_us = 1000000; /* long idle: no more than a burst is saved */
	int64_t end_us = now_us + 2000000, mark_us = now_us;
	while (now_us < end_us) {
		int64_t wait_us = bucket_wait_us(&bucket, now_us);
		now_us += wait_us;
		if (now_us - mark_us > 20000) {
			burst = MAX(burst, window_paid);
			window_paid = 0;
			mark_us = now_us;
		}
		bucket_pay(&bucket, 16406);
		paid += 16406 * BUCKET_OVERHEAD;
		window_paid += 16406 * BUCKET_OVERHEAD;
	}
	g_assert_cmpfloat(paid, <, 2 * 10e6 * 1.02);
	g_assert_cmpfloat(paid, >, 2 * 10e6 * 0.98);
	g_assert_cmpfloat(burst, <, 0.05 * 10e6); /* in 20 ms: 20 ms, a burst and a record */
	/* A debt at a high rate is no long silence at a low one. */
	bucket_set_rate(&bucket, 1000000000, now_us);
	bucket_pay(&bucket, 5000000);
	bucket_set_rate(&bucket, 100000, now_us);
	g_assert_cmpint(bucket_wait_us(&bucket, now_us), <=, BUCKET_BURST_US + 1);
}

/* ---- memory ---- */

static void test_pool(void)
{
	struct pool pool;
	pool_init(&pool, MIB);
	struct frame *frames[8];
	static const size_t lengths[] = {
		0, 1, 4096, 4097, 65536, 100000, 131073, LINK_PAYLOAD_MAX
	};
	for (size_t i = 0; i < 8; i++) {
		frames[i] = pool_get(&pool, lengths[i]);
		g_assert_cmpuint(pool_room(frames[i]), >=, lengths[i]);
		g_assert_cmpuint(pool_room(frames[i]), <=, MAX(2 * lengths[i], POOL_SMALLEST));
		memset(frame_wire(frames[i]), 1, WIRE_HEADER_BYTES);
		memset(frames[i]->public.data, 2, lengths[i]);
	}
	for (size_t i = 0; i < 8; i++)
		pool_put(&pool, frames[i]);
	g_assert_cmpuint(pool.kept_bytes, <=, MIB);
	g_assert_true(pool_get(&pool, LINK_PAYLOAD_MAX) == frames[7]); /* last in, first out */
	frames[7]->public.length = 5000;
	frames[7]->public.flags = 77;
	memset(frames[7]->public.data, 9, 5000);
	struct frame *small = pool_shrink(&pool, frames[7]);
	g_assert_cmpuint(pool_room(small), ==, 8192);
	g_assert_cmpuint(small->public.flags, ==, 77);
	g_assert_cmpuint(small->public.data[4999], ==, 9);
	pool_put(&pool, small);
	/* More than may be kept goes back to the system. */
	struct frame *many[16];
	for (size_t i = 0; i < 16; i++)
		many[i] = pool_get(&pool, LINK_PAYLOAD_MAX);
	for (size_t i = 0; i < 16; i++)
		pool_put(&pool, many[i]);
	g_assert_cmpuint(pool.kept_bytes, <=, MIB);
	pool_destroy(&pool);
}

/* ---- queue ---- */

static void commit(struct queue *queue, size_t length)
{
	struct frame *frame = pool_get(queue->pool, LINK_PAYLOAD_MAX);
	frame->public.length = length;
	queue_commit(queue, frame, 0);
}

static uint64_t take(struct queue *queue, int lane)
{
	struct frame *frame = queue_take(queue, lane);
	if (!frame)
		return UINT64_MAX;
	queue_written(queue->pool, frame);
	return frame->public.sequence;
}

static void test_queue(void)
{
	struct pool pool;
	struct queue queue;
	pool_init(&pool, MIB);
	queue_init(&queue, LINK_MEMORY, &pool, 4 * MIB);
	for (int i = 0; i < 8; i++)
		commit(&queue, 1000);
	/* Two lanes take turns; 6 and 7 stay. */
	for (uint64_t i = 0; i < 6; i++)
		g_assert_cmpuint(take(&queue, (int) i % 2), ==, i);
	/* Lane 1 breaks: 1, 3, 5 go again, first. */
	queue_lane_lost(&queue, 1);
	g_assert_cmpuint(take(&queue, 0), ==, 1);
	/* Then 3 is known to have arrived; 5 is not. */
	g_assert_true(queue_acknowledge(&queue, 0, 5, 0, 0));
	g_assert_cmpuint(take(&queue, 0), ==, 5);
	g_assert_cmpuint(take(&queue, 0), ==, 6);
	/* Lane 0 breaks too: of 0, 1, 2, 4, 5, 6 only what has not arrived. */
	queue_lane_lost(&queue, 0);
	g_assert_cmpuint(take(&queue, 2), ==, 5);
	g_assert_cmpuint(take(&queue, 2), ==, 6);
	g_assert_cmpuint(take(&queue, 2), ==, 7);
	g_assert_cmpuint(take(&queue, 2), ==, UINT64_MAX);
	g_assert_cmpuint(queue.bytes, ==, 8000);
	/* Acknowledgements out of order, and impossible ones. */
	g_assert_true(queue_acknowledge(&queue, 6, 7, 0, 0));
	g_assert_true(queue_acknowledge(&queue, 2, 3, 0, 0));
	g_assert_cmpuint(queue.bytes, ==, 2000);
	g_assert_false(queue_acknowledge(&queue, 9, 9, 0, 0));
	g_assert_false(queue_acknowledge(&queue, 8, 7, 0, 0));
	g_assert_false(queue_is_drained(&queue));
	g_assert_true(queue_acknowledge(&queue, 8, 8, 0, 0));
	g_assert_true(queue_is_drained(&queue));
	queue_destroy(&queue);
	pool_destroy(&pool);
}

/* A frame that is acknowledged while a lane still writes it lives until the lane is done. */
static void test_queue_writing(void)
{
	struct pool pool;
	struct queue queue;
	pool_init(&pool, MIB);
	queue_init(&queue, LINK_MEMORY, &pool, 4 * MIB);
	commit(&queue, 100000);
	struct frame *frame = queue_take(&queue, 0);
	g_assert_true(queue_acknowledge(&queue, 1, 1, 0, 0));
	g_assert_cmpuint(pool.kept_bytes, ==, 0);
	memset(frame->public.data, 1, 100000);
	queue_written(&pool, frame);
	g_assert_cmpuint(pool.kept_bytes, >, 0);
	queue_lane_lost(&queue, 0);
	g_assert_false(queue_has_work(&queue));
	queue_destroy(&queue);
	pool_destroy(&pool);
}

static void test_queue_bounds(void)
{
	struct pool pool;
	struct queue queue;
	pool_init(&pool, MIB);
	queue_init(&queue, LINK_MEMORY, &pool, 64 * MIB);
	queue.window.size = 64 * MIB;
	/* The peer has room for 1 MiB only. */
	unsigned count = 0;
	for (; queue_has_space(&queue); count++)
		commit(&queue, LINK_PAYLOAD_MAX);
	g_assert_cmpuint(count, ==, 4);
	queue.peer_max = 64 * MIB;
	/* Small frames are bounded by their number, and lie in small blocks. */
	for (; queue_has_space(&queue); count++)
		commit(&queue, 10);
	g_assert_cmpuint(count, ==, wire_streams[LINK_MEMORY].frames_max);
	g_assert_cmpuint(queue.large, <=, 16);
	queue_destroy(&queue);
	pool_destroy(&pool);
}

/* ---- reordering ---- */

static enum reorder_verdict arrive(struct reorder *reorder, uint64_t sequence, size_t length)
{
	struct frame *frame = pool_get(reorder->pool, length);
	frame->public.sequence = sequence;
	frame->public.length = length;
	return reorder_insert(reorder, frame);
}

static void test_reorder(void)
{
	struct pool pool;
	struct reorder reorder;
	pool_init(&pool, MIB);
	reorder_init(&reorder, LINK_MEMORY, &pool, MIB);
	g_assert_cmpint(arrive(&reorder, 2, 100), ==, REORDER_WANTED);
	g_assert_null(reorder_next(&reorder));
	g_assert_cmpint(arrive(&reorder, 2, 100), ==, REORDER_DUPLICATE);
	g_assert_cmpint(arrive(&reorder, 0, 100), ==, REORDER_WANTED);
	g_assert_cmpint(arrive(&reorder, 1, 0), ==, REORDER_WANTED);
	g_assert_cmpuint(reorder.expected, ==, 3);
	struct frame *frames[3];
	for (uint64_t i = 0; i < 3; i++) {
		frames[i] = reorder_next(&reorder);
		g_assert_cmpuint(frames[i]->public.sequence, ==, i);
	}
	/* Given back out of order: consumed grows without gaps. */
	g_assert_true(reorder_done(&reorder, frames[1]));
	g_assert_cmpuint(reorder.consumed, ==, 0);
	g_assert_true(reorder_done(&reorder, frames[0]));
	g_assert_cmpuint(reorder.consumed, ==, 2);
	g_assert_cmpint(arrive(&reorder, 1, 100), ==, REORDER_DUPLICATE);
	g_assert_true(reorder_done(&reorder, frames[2]));
	g_assert_cmpuint(reorder.bytes, ==, 0);

	/* The window, in bytes and in number. */
	for (uint64_t i = 3; i < 7; i++)
		g_assert_cmpint(arrive(&reorder, i, LINK_PAYLOAD_MAX), ==, REORDER_WANTED);
	g_assert_cmpint(arrive(&reorder, 7, 1), ==, REORDER_BEYOND);
	g_assert_cmpint(arrive(&reorder, 7, 0), ==, REORDER_WANTED);
	g_assert_cmpint(arrive(&reorder, 3 + reorder.frames_max, 0), ==, REORDER_BEYOND);
	g_assert_cmpint(arrive(&reorder, UINT64_MAX, 0), ==, REORDER_BEYOND);

	/* The end. */
	g_assert_false(reorder_finish(&reorder, 5));
	g_assert_true(reorder_finish(&reorder, 9));
	g_assert_true(reorder_finish(&reorder, 9));
	g_assert_false(reorder_finish(&reorder, 10));
	g_assert_cmpint(arrive(&reorder, 9, 0), ==, REORDER_BEYOND);
	g_assert_cmpint(arrive(&reorder, 8, 0), ==, REORDER_WANTED);
	for (uint64_t i = 3; i < 9; i++) {
		g_assert_false(reorder_is_finished(&reorder));
		g_assert_nonnull(reorder_next(&reorder));
	}
	g_assert_true(reorder_is_finished(&reorder));
	reorder_destroy(&reorder);
	pool_destroy(&pool);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/link/window/fills", test_window_fills);
	g_test_add_func("/link/window/short", test_window_short);
	g_test_add_func("/link/window/idle", test_window_idle);
	g_test_add_func("/link/window/bounds", test_window_bounds);
	g_test_add_func("/link/window/hurry", test_window_hurry);
	g_test_add_func("/link/bucket", test_bucket);
	g_test_add_func("/link/pool", test_pool);
	g_test_add_func("/link/queue", test_queue);
	g_test_add_func("/link/queue/writing", test_queue_writing);
	g_test_add_func("/link/queue/bounds", test_queue_bounds);
	g_test_add_func("/link/reorder", test_reorder);
	return g_test_run();
}
