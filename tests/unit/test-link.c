/* SPDX-License-Identifier: Apache-2.0 */
/* The link, two of them in one process, over real sockets. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "link/link.h"

/* ---- two ends ---- */

struct pair {
	struct link *source, *destination;
	uint16_t port;
};

static struct link_config make_config(bool source, unsigned connections)
{
	struct link_config config = {
		.source = source,
		.connections = connections,
		.id = "0123456789abcdef0123456789abcdef",
		.timeout_ms = 10000,
	};
	memset(config.key, 0x5a, sizeof(config.key));
	return config;
}

static void connect_pair(struct pair *pair, bool source_listens)
{
	GError *error = NULL;
	const char *const addresses[] = { "127.0.0.1", NULL };
	struct link *listener = source_listens ? pair->source : pair->destination;
	struct link *dialler = source_listens ? pair->destination : pair->source;
	link_listen_tcp(listener, "127.0.0.1", 0, 0, &pair->port, &error);
	g_assert_no_error(error);
	link_connect_tcp(dialler, addresses, pair->port, &error);
	g_assert_no_error(error);
	g_assert_true(link_start(listener, &error));
	g_assert_true(link_start(dialler, &error));
}

static void wait_pair(struct pair *pair)
{
	GError *error = NULL;
	link_wait_up(pair->source, 5000, &error);
	g_assert_no_error(error);
	link_wait_up(pair->destination, 5000, &error);
	g_assert_no_error(error);
}

static void start_pair(struct pair *pair, const struct link_config *source,
		       const struct link_config *destination)
{
	GError *error = NULL;
	pair->source = link_new(source, &error);
	g_assert_no_error(error);
	pair->destination = link_new(destination, &error);
	g_assert_no_error(error);
}

static void stop_pair(struct pair *pair)
{
	g_clear_pointer(&pair->source, link_free);
	g_clear_pointer(&pair->destination, link_free);
}

static void make_pair(struct pair *pair, unsigned connections)
{
	struct link_config source = make_config(true, connections);
	struct link_config destination = make_config(false, connections);
	start_pair(pair, &source, &destination);
	connect_pair(pair, false);
	wait_pair(pair);
}

/* ---- what travels: words that name their place in the stream ---- */

static void fill(uint8_t *at, size_t length, uint64_t offset)
{
	for (size_t i = 0; i < length; i += 8) {
		uint64_t word = (offset + i) * 0x9e3779b97f4a7c15ull;
		memcpy(at + i, &word, MIN(8, length - i));
	}
}

static bool check(const uint8_t *at, size_t length, uint64_t offset)
{
	uint8_t wanted[4096];
	for (size_t i = 0; i < length; i += sizeof(wanted)) {
		size_t n = MIN(sizeof(wanted), length - i);
		fill(wanted, n, offset + i);
		if (memcmp(at + i, wanted, n) != 0)
			return false;
	}
	return true;
}

struct sender {
	struct link *link;
	enum link_stream stream;
	uint64_t bytes;
	uint32_t seed;
	GThread *thread;
};

static size_t random_length(GRand *random)
{
	switch (g_rand_int_range(random, 0, 4)) {
	case 0:
		return (size_t) g_rand_int_range(random, 0, 100);
	case 1:
		return (size_t) g_rand_int_range(random, 0, 20000);
	default:
		return (size_t) g_rand_int_range(random, 1, LINK_PAYLOAD_MAX + 1);
	}
}

static gpointer run_sender(gpointer argument)
{
	struct sender *sender = argument;
	GRand *random = g_rand_new_with_seed(sender->seed);
	uint64_t offset = 0;
	GError *error = NULL;
	for (uint32_t i = 0; offset < sender->bytes; i++) {
		struct link_frame *frame = link_frame_begin(sender->link, sender->stream, &error);
		g_assert_no_error(error);
		frame->length = random_length(random);
		frame->flags = i;
		memset(frame->tag, (int) i, sizeof(frame->tag));
		fill(frame->data, frame->length, offset);
		offset += frame->length;
		link_frame_commit(sender->link, sender->stream, frame);
	}
	g_rand_free(random);
	link_finish(sender->link, sender->stream);
	link_drain(sender->link, sender->stream, 20000, &error);
	g_assert_no_error(error);
	return NULL;
}

static void start_sender(struct sender *sender)
{
	sender->thread = g_thread_new("sender", run_sender, sender);
}

/* Take everything and check it; returns the bytes. */
static uint64_t receive_all(struct link *link, enum link_stream stream)
{
	uint64_t offset = 0;
	bool finished = false;
	GError *error = NULL;
	for (uint32_t i = 0;; i++) {
		struct link_frame *frame = link_receive(link, stream, 20000, &finished, &error);
		g_assert_no_error(error);
		if (!frame)
			break;
		uint8_t tag[LINK_TAG_BYTES];
		memset(tag, (int) i, sizeof(tag));
		g_assert_cmpuint(frame->sequence, ==, i);
		g_assert_cmpuint(frame->flags, ==, i);
		g_assert_cmpmem(frame->tag, sizeof(tag), tag, sizeof(tag));
		g_assert_true(check(frame->data, frame->length, offset));
		offset += frame->length;
		link_frame_done(link, stream, frame);
	}
	g_assert_true(finished);
	return offset;
}

static void test_order(gconstpointer data)
{
	unsigned connections = GPOINTER_TO_UINT(data);
	struct pair pair;
	make_pair(&pair, connections);
	struct sender sender = { .link = pair.source, .stream = LINK_MEMORY, .bytes = 300000000 };
	start_sender(&sender);
	g_assert_cmpuint(receive_all(pair.destination, LINK_MEMORY), >=, sender.bytes);
	g_thread_join(sender.thread);
	struct link_stats stats;
	link_get_stats(pair.source, &stats);
	for (unsigned i = 0; i < connections; i++)
		g_assert_cmpuint(stats.lane_sent[i], >, sender.bytes / connections / 10);
	g_assert_cmpuint(stats.in_flight, ==, 0);
	stop_pair(&pair);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/link/order/1", GUINT_TO_POINTER(1), test_order);
	g_test_add_data_func("/link/order/2", GUINT_TO_POINTER(2), test_order);
	g_test_add_data_func("/link/order/4", GUINT_TO_POINTER(4), test_order);
	return g_test_run();
}
