/* SPDX-License-Identifier: Apache-2.0 */
/* The link on a good day and on a bad network: order, identity, bounds, endings. */
#include <string.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link-pair.h"
#include "link/socket.h"

/* The sanitizers' own memory grows with ours, and their speed is no measure. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

static void test_order(gconstpointer data)
{
	unsigned connections = GPOINTER_TO_UINT(data);
	struct pair pair;
	pair_make(&pair, connections);
	struct sender there = { .link = pair.source, .stream = LINK_MEMORY, .bytes = 200000000 };
	struct sender back = { .link = pair.destination, .stream = LINK_RETURN, .bytes = 3000000 };
	sender_start(&there);
	sender_start(&back);
	talk_once(&pair, "in the middle of it");
	g_assert_cmpuint(receive_all(pair.destination, LINK_MEMORY, 0), >=, there.bytes);
	g_assert_cmpuint(receive_all(pair.source, LINK_RETURN, 0), >=, back.bytes);
	sender_join(&there);
	sender_join(&back);
	struct link_stats stats;
	link_get_stats(pair.source, &stats);
	for (unsigned i = 0; i < connections; i++)
		g_assert_cmpuint(stats.lane_sent[i], >, there.bytes / connections / 10);
	g_assert_cmpuint(stats.wire_sent, >, there.bytes);
	g_assert_cmpuint(stats.in_flight, ==, 0);
	g_assert_cmpuint(stats.resent_frames, ==, 0);
	g_assert_cmpuint(stats.up, ==, connections);
	g_assert_cmpint(stats.round_trip_us, >, 0);
	pair_free(&pair);
}

static gpointer receive_return(gpointer pair)
{
	receive_all(((struct pair *) pair)->source, LINK_RETURN, 0);
	return NULL;
}

static gpointer receive_memory(gpointer pair)
{
	receive_all(((struct pair *) pair)->destination, LINK_MEMORY, 0);
	return NULL;
}

/* Lanes are cut at random, from either side, while the stream runs: not a byte is lost. */
static gpointer run_cutter(gpointer argument)
{
	struct pair *pair = argument;
	GRand *random = g_rand_new_with_seed(7);
	for (int i = 0; i < 40; i++) {
		g_usleep((gulong) g_rand_int_range(random, 1000, 60000));
		struct link *end = g_rand_boolean(random) ? pair->source : pair->destination;
		link_test_cut(end, (unsigned) g_rand_int_range(random, 0, 4));
	}
	g_rand_free(random);
	return NULL;
}

static void test_cuts(gconstpointer data)
{
	unsigned connections = GPOINTER_TO_UINT(data);
	struct pair pair;
	struct link_stats stats;
	pair_make(&pair, connections);
	/* Slow enough that the cuts fall into it. */
	link_set_bandwidth(pair.source, 100000000);
	struct sender there = { .link = pair.source, .stream = LINK_MEMORY, .bytes = 200000000 };
	struct sender back = { .link = pair.destination, .stream = LINK_RETURN, .bytes = 10000000 };
	GThread *cutter = g_thread_new("cutter", run_cutter, &pair);
	sender_start(&there);
	sender_start(&back);
	GThread *taker = g_thread_new("taker", receive_return, &pair);
	g_assert_cmpuint(receive_all(pair.destination, LINK_MEMORY, 0), >=, there.bytes);
	g_thread_join(taker);
	sender_join(&there);
	sender_join(&back);
	g_thread_join(cutter);
	link_get_stats(pair.source, &stats);
	g_assert_cmpuint(stats.reconnects, >=, 3);
	if (connections > 1)
		g_assert_cmpuint(stats.resent_frames, >, 0);
	g_test_message("%" G_GUINT64_FORMAT " reconnects, %" G_GUINT64_FORMAT " frames resent",
		       stats.reconnects, stats.resent_frames);
	WAIT_UNTIL((link_get_stats(pair.source, &stats), stats.up == connections));
	pair_free(&pair);
}

/* New keys in mid-transfer, often, both sides asking. */
static gpointer run_rekeyer(gpointer argument)
{
	struct pair *pair = argument;
	for (int i = 0; i < 200; i++) {
		link_test_update_keys(i % 3 ? pair->source : pair->destination);
		g_usleep(2000);
	}
	return NULL;
}

static void test_update_keys(void)
{
	struct pair pair;
	struct link_stats stats;
	pair_make(&pair, 2);
	link_set_bandwidth(pair.source, 400000000);
	struct sender there = { .link = pair.source, .stream = LINK_MEMORY, .bytes = 160000000 };
	GThread *rekeyer = g_thread_new("rekeyer", run_rekeyer, &pair);
	sender_start(&there);
	g_assert_cmpuint(receive_all(pair.destination, LINK_MEMORY, 0), >=, there.bytes);
	sender_join(&there);
	g_thread_join(rekeyer);
	talk_once(&pair, "still understood");
	link_get_stats(pair.source, &stats);
	g_assert_cmpuint(stats.reconnects, ==, 0);
	pair_free(&pair);
}

/* A consumer that does nothing: the sender stops at the window, and memory is bounded by it. */
static uint64_t rss_bytes(void)
{
	g_autofree char *text = NULL;
	g_assert_true(g_file_get_contents("/proc/self/statm", &text, NULL, NULL));
	char *resident = strchr(text, ' ');
	return g_ascii_strtoull(resident, NULL, 10) * (uint64_t) getpagesize();
}

struct watcher {
	struct link *link;
	uint64_t in_flight, rss; /* the largest seen */
};

static gpointer run_watcher(gpointer argument)
{
	struct watcher *watcher = argument;
	struct link_stats stats;
	for (int i = 0; i < 300; i++) {
		link_get_stats(watcher->link, &stats);
		watcher->in_flight = MAX(watcher->in_flight, stats.in_flight);
		watcher->rss = MAX(watcher->rss, rss_bytes());
		g_usleep(2000);
	}
	return NULL;
}

static void test_slow_consumer(void)
{
	struct pair pair;
	struct link_config source = pair_config(true, 2), destination = pair_config(false, 2);
	source.window_max = 64 << 20;
	destination.window_max = 4 << 20; /* the smaller one counts */
	pair_new(&pair, &source, &destination);
	pair_connect(&pair, true);
	pair_wait(&pair);
	struct watcher watcher = { .link = pair.source };
	uint64_t before = rss_bytes();
	struct sender there = { .link = pair.source, .stream = LINK_MEMORY, .bytes = 20000000 };
	sender_start(&there);
	GThread *watching = g_thread_new("watcher", run_watcher, &watcher);
	g_usleep(100000);                        /* nobody takes anything */
	WAIT_UNTIL(!link_is_limit(pair.source)); /* nor is it the network's fault */
	talk_once(&pair, "talk does not wait behind data");
	g_assert_cmpuint(receive_all(pair.destination, LINK_MEMORY, 3000), >=, there.bytes);
	sender_join(&there);
	g_thread_join(watching);
	g_assert_cmpuint(watcher.in_flight, >, 500000); /* it did run full */
	g_assert_cmpuint(watcher.in_flight, <=, 4 << 20);
	/* Both ends are in this process: twice twice the window, and some buffers. */
	if (!SANITIZED)
		g_assert_cmpuint(watcher.rss - before, <, (4 * 4 + 16) << 20);
	pair_free(&pair);
}

/* Bytes a second on the wire: 66 bytes of headers for each 1448 of payload, see link.h. */
static double measure_wire(struct link *link, gulong for_us)
{
	struct link_stats before, after;
	int64_t before_us = clock_now_us();
	link_get_stats(link, &before);
	g_usleep(for_us);
	link_get_stats(link, &after);
	double seconds = (double) (clock_now_us() - before_us) / 1e6;
	return (double) (after.wire_sent - before.wire_sent) * 1514 / 1448 / seconds;
}

/* The cap holds on the wire, over all lanes together, and is used. */
static void test_bandwidth(void)
{
	struct pair pair;
	const double cap = 20e6;
	double rate = 0;
	pair_make(&pair, 2);
	link_set_bandwidth(pair.source, (uint64_t) cap);
	struct sender there = { .link = pair.source, .stream = LINK_MEMORY, .bytes = 120000000 };
	sender_start(&there);
	GThread *taker = g_thread_new("taker", receive_memory, &pair);
	g_usleep(100000);
	/* A busy machine may keep it below; nothing may lift it above. */
	for (int i = 0; i < 4 && rate < cap * 0.95; i++) {
		rate = measure_wire(pair.source, 1500000);
		g_test_message("%.2f MB/s of %.2f", rate / 1e6, cap / 1e6);
		g_assert_cmpfloat(rate, <, cap * 1.03);
	}
	if (!SANITIZED)
		g_assert_cmpfloat(rate, >, cap * 0.9);
	unsigned limited = 0;
	for (int i = 0; i < 50; i++, g_usleep(2000))
		limited += link_is_limit(pair.source);
	g_assert_cmpuint(limited, >, 25);
	/* A change counts at once, in both directions. */
	link_set_bandwidth(pair.source, (uint64_t) cap / 4);
	g_usleep(50000);
	g_assert_cmpfloat(measure_wire(pair.source, 400000), <, cap / 4 * 1.05);
	link_set_bandwidth(pair.source, 0);
	sender_join(&there);
	g_thread_join(taker);
	pair_free(&pair);
}

static void test_endings(void)
{
	struct pair pair;
	GError *error = NULL;
	bool finished = true;
	pair_make(&pair, 2);

	/* Nothing there: not an error, not the end. */
	g_assert_null(link_receive(pair.destination, LINK_MEMORY, 20, &finished, &error));
	g_assert_no_error(error);
	g_assert_false(finished);
	/* This way it does not go. */
	g_assert_null(link_frame_begin(pair.destination, LINK_MEMORY, &error));
	g_assert_error(error, WATARI_ERROR, WATARI_ERROR_INTERNAL);
	g_clear_error(&error);
	/* A frame that is given back leaves no gap. */
	struct link_frame *frame = link_frame_begin(pair.source, LINK_MEMORY, &error);
	link_frame_cancel(pair.source, LINK_MEMORY, frame);
	/* Not taken: not drained. */
	frame = link_frame_begin(pair.source, LINK_MEMORY, &error);
	frame->length = 3;
	link_frame_commit(pair.source, LINK_MEMORY, frame);
	g_assert_false(link_drain(pair.source, LINK_MEMORY, 50, &error));
	g_clear_error(&error);
	frame = link_receive(pair.destination, LINK_MEMORY, 1000, &finished, &error);
	g_assert_nonnull(frame);
	g_assert_cmpuint(frame->sequence, ==, 0);
	link_frame_done(pair.destination, LINK_MEMORY, frame);
	g_assert_true(link_drain(pair.source, LINK_MEMORY, 1000, &error));
	/* The end is told once all is delivered, and stays told. */
	link_finish(pair.source, LINK_MEMORY);
	for (int i = 0; i < 2; i++) {
		g_assert_null(link_receive(pair.destination, LINK_MEMORY, 1000, &finished, &error));
		g_assert_no_error(error);
		g_assert_true(finished);
	}
	g_assert_null(link_frame_begin(pair.source, LINK_MEMORY, &error));
	g_clear_error(&error);

	link_close(pair.source, "the VM said no");
	g_assert_null(link_receive(pair.destination, LINK_TALK, 2000, &finished, &error));
	g_assert_error(error, WATARI_ERROR, WATARI_ERROR_INTERNAL);
	g_assert_nonnull(strstr(error->message, "the VM said no"));
	g_clear_error(&error);
	g_assert_null(link_receive(pair.source, LINK_TALK, 2000, &finished, &error));
	g_assert_nonnull(error);
	g_clear_error(&error);
	/* What was finished before is still finished. */
	g_assert_null(link_receive(pair.destination, LINK_MEMORY, 0, &finished, &error));
	g_assert_true(finished);
	pair_free(&pair);
}

/* close() returns everybody who waits. */
static gpointer run_blocked_sender(gpointer argument)
{
	struct link *link = argument;
	GError *error = NULL;
	struct link_frame *frame;
	while ((frame = link_frame_begin(link, LINK_MEMORY, &error))) {
		frame->length = 100000;
		link_frame_commit(link, LINK_MEMORY, frame);
	}
	g_assert_error(error, WATARI_ERROR, WATARI_ERROR_INTERNAL);
	g_clear_error(&error);
	return NULL;
}

static gpointer run_blocked_receiver(gpointer argument)
{
	bool finished;
	GError *error = NULL;
	g_assert_null(link_receive(argument, LINK_RETURN, -1, &finished, &error));
	g_assert_false(finished);
	g_assert_error(error, WATARI_ERROR, WATARI_ERROR_INTERNAL);
	g_clear_error(&error);
	return NULL;
}

static void test_close_wakes(void)
{
	struct pair pair;
	pair_make(&pair, 2);
	GThread *threads[] = {
		g_thread_new("sender", run_blocked_sender, pair.source),
		g_thread_new("receiver", run_blocked_receiver, pair.source),
	};
	g_usleep(50000);
	int64_t before_ms = clock_now_ms();
	link_close(pair.source, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
		g_thread_join(threads[i]);
	g_assert_cmpint(clock_now_ms() - before_ms, <, 500);
	pair_free(&pair);
	g_assert_cmpint(clock_now_ms() - before_ms, <, 2500);
}

static void test_nonsense(void)
{
	GError *error = NULL;
	struct link_config config = pair_config(true, 0);
	g_assert_null(link_new(&config, &error));
	g_clear_error(&error);
	config = pair_config(true, LINK_CONNECTIONS_MAX + 1);
	g_assert_null(link_new(&config, &error));
	g_clear_error(&error);
	config = pair_config(true, 1);
	memset(config.id, 'x', sizeof(config.id));
	g_assert_null(link_new(&config, &error));
	g_clear_error(&error);
	config = pair_config(true, 1);
	struct link *link = link_new(&config, &error);
	g_assert_no_error(error);
	g_assert_false(link_start(link, &error)); /* nowhere to connect */
	g_clear_error(&error);
	link_free(link);
}

/* The kernel knows that of a connection as soon as it stands, before a byte of data has gone over it. */
static void test_kernel_round_trip(void)
{
	struct sockaddr_in here = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(here);
	int pair[2], listener = socket(AF_INET, SOCK_STREAM, 0),
		     fd = socket(AF_INET, SOCK_STREAM, 0);
	g_assert_cmpint(bind(listener, (struct sockaddr *) &here, sizeof(here)), ==, 0);
	g_assert_cmpint(listen(listener, 1), ==, 0);
	g_assert_cmpint(getsockname(listener, (struct sockaddr *) &here, &length), ==, 0);
	g_assert_cmpint(connect(fd, (struct sockaddr *) &here, length), ==, 0);
	g_assert_cmpint(socket_round_trip_us(fd), >, 0);
	g_assert_cmpint(socket_round_trip_us(fd), <, 200000);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
	g_assert_cmpint(socket_round_trip_us(pair[0]), ==, 0);
	close(fd);
	close(listener);
	close(pair[0]);
	close(pair[1]);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/link/kernel-round-trip", test_kernel_round_trip);
	g_test_add_data_func("/link/order/1", GUINT_TO_POINTER(1), test_order);
	g_test_add_data_func("/link/order/2", GUINT_TO_POINTER(2), test_order);
	g_test_add_data_func("/link/order/4", GUINT_TO_POINTER(4), test_order);
	g_test_add_data_func("/link/cuts/1", GUINT_TO_POINTER(1), test_cuts);
	g_test_add_data_func("/link/cuts/2", GUINT_TO_POINTER(2), test_cuts);
	g_test_add_data_func("/link/cuts/4", GUINT_TO_POINTER(4), test_cuts);
	g_test_add_func("/link/update-keys", test_update_keys);
	g_test_add_func("/link/slow-consumer", test_slow_consumer);
	g_test_add_func("/link/bandwidth", test_bandwidth);
	g_test_add_func("/link/endings", test_endings);
	g_test_add_func("/link/close-wakes", test_close_wakes);
	g_test_add_func("/link/nonsense", test_nonsense);
	return g_test_run();
}
