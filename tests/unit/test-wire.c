/* SPDX-License-Identifier: Apache-2.0 */
/* The link's messages: what is put comes out again, however it is cut; nothing impossible passes.
 */
#include <string.h>

#include "link/wire.h"

/* Feed LENGTH bytes in pieces of at most STEP; the first event that is not MORE. */
static enum wire_event feed(struct wire_decoder *decoder, const uint8_t *bytes, size_t length,
			    size_t step, uint8_t *payload)
{
	enum wire_event event = WIRE_MORE;
	while (length > 0 && event == WIRE_MORE) {
		uint8_t *at;
		size_t n = MIN(MIN(wire_decoder_space(decoder, &at), step), length);
		memcpy(at, bytes, n);
		bytes += n;
		length -= n;
		event = wire_decoder_advance(decoder, n);
		if (event == WIRE_FRAME)
			event = wire_decoder_take_payload(decoder, payload);
	}
	return event;
}

static const struct wire_hello some_hello = {
	.version = WIRE_VERSION,
	.lane = 1,
	.lanes = 2,
	.source = true,
	.window = 5 * WIRE_WINDOW_MIN,
	.expected = { 7, 8, 1ull << 60 },
};

static void test_hello(void)
{
	for (size_t step = 1; step < 200; step++) {
		uint8_t bytes[256];
		struct wire_decoder decoder;
		wire_decoder_init(&decoder, true);
		size_t length = wire_put_hello(bytes, &some_hello);
		g_assert_cmpint(feed(&decoder, bytes, length, step, NULL), ==, WIRE_MESSAGE);
		const struct wire_hello *hello = &decoder.message.hello;
		g_assert_cmpint(decoder.message.type, ==, WIRE_HELLO);
		g_assert_cmpuint(hello->lane, ==, 1);
		g_assert_cmpuint(hello->lanes, ==, 2);
		g_assert_cmpuint(hello->window, ==, some_hello.window);
		g_assert_cmpmem(hello->expected, sizeof(hello->expected), some_hello.expected,
				sizeof(some_hello.expected));
	}
}

/* Each of these changes must make the hello impossible. */
static void test_hello_refused(void)
{
	static const struct {
		size_t at;
		uint8_t value;
	} changes[] = {
		{ 0, 1 },    { 3, WIRE_HELLO_BYTES - 1 },
		{ 4, 77 },   { 5, 1 },
		{ 6, 1 },    { 8, 1 },
		{ 12, 1 },   { 24, 1 },
		{ 40, 'X' }, { 49, 99 },
		{ 51, 2 },   { 53, 0 },
		{ 53, 17 },  { 54, 0 },
		{ 54, 2 },   { 55, 9 },
		{ 69, 0 },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(changes); i++) {
		uint8_t bytes[256];
		struct wire_decoder decoder;
		wire_decoder_init(&decoder, true);
		size_t length = wire_put_hello(bytes, &some_hello);
		bytes[changes[i].at] = changes[i].value;
		g_test_message("change %zu", i);
		g_assert_cmpint(feed(&decoder, bytes, length, 1000, NULL), ==, WIRE_BAD);
		g_assert_nonnull(decoder.problem);
		uint8_t *at;
		g_assert_cmpuint(wire_decoder_space(&decoder, &at), ==, 0);
	}
}

static void test_data(void)
{
	static uint8_t bytes[WIRE_HEADER_BYTES + LINK_PAYLOAD_MAX], payload[LINK_PAYLOAD_MAX];
	static const size_t lengths[] = { 0, 1, 4095, LINK_PAYLOAD_MAX };
	for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
		struct link_frame frame = { .length = lengths[i],
					    .flags = 0xdeadbeef,
					    .sequence = 1ull << 40 };
		memset(frame.tag, 0xa5, sizeof(frame.tag));
		wire_put_data(bytes, LINK_MEMORY, &frame);
		for (size_t at = 0; at < lengths[i]; at++)
			bytes[WIRE_HEADER_BYTES + at] = (uint8_t) (at * 7);
		for (size_t step = 1; step <= LINK_PAYLOAD_MAX; step = step * 3 + 1) {
			struct wire_decoder decoder;
			wire_decoder_init(&decoder, true);
			memset(payload, 0, sizeof(payload));
			g_assert_cmpint(feed(&decoder, bytes, WIRE_HEADER_BYTES + lengths[i], step,
					     payload),
					==, WIRE_MESSAGE);
			g_assert_cmpuint(decoder.message.length, ==, lengths[i]);
			g_assert_cmpuint(decoder.message.flags, ==, 0xdeadbeef);
			g_assert_cmpuint(decoder.message.sequence, ==, 1ull << 40);
			g_assert_cmpmem(decoder.message.tag, LINK_TAG_BYTES, frame.tag,
					LINK_TAG_BYTES);
			g_assert_cmpmem(payload, lengths[i], bytes + WIRE_HEADER_BYTES, lengths[i]);
			/* Dropped payloads leave the decoder at the next message. */
			wire_decoder_init(&decoder, true);
			g_assert_cmpint(
				feed(&decoder, bytes, WIRE_HEADER_BYTES + lengths[i], step, NULL),
				==, WIRE_MESSAGE);
			uint8_t *space;
			g_assert_cmpuint(wire_decoder_space(&decoder, &space), ==,
					 WIRE_HEADER_BYTES);
		}
	}
}

static void test_data_refused(void)
{
	uint8_t bytes[WIRE_HEADER_BYTES];
	struct wire_decoder decoder;
	struct link_frame frame = { .length = LINK_PAYLOAD_MAX + 1 };
	wire_put_data(bytes, LINK_MEMORY, &frame);
	wire_decoder_init(&decoder, true);
	g_assert_cmpint(feed(&decoder, bytes, sizeof(bytes), 100, NULL), ==, WIRE_BAD);

	/* Memory goes one way only. */
	frame.length = 0;
	wire_put_data(bytes, LINK_MEMORY, &frame);
	wire_decoder_init(&decoder, false);
	g_assert_cmpint(feed(&decoder, bytes, sizeof(bytes), 100, NULL), ==, WIRE_BAD);
	wire_put_data(bytes, LINK_RETURN, &frame);
	wire_decoder_init(&decoder, true);
	g_assert_cmpint(feed(&decoder, bytes, sizeof(bytes), 100, NULL), ==, WIRE_BAD);
}

static void test_small_messages(void)
{
	uint8_t bytes[1024];
	struct wire_decoder decoder;
	wire_decoder_init(&decoder, false);
	size_t length = wire_put_ack(bytes, LINK_MEMORY, 5, 9);
	g_assert_cmpint(feed(&decoder, bytes, length, 7, NULL), ==, WIRE_MESSAGE);
	g_assert_cmpint(decoder.message.type, ==, WIRE_ACK);
	g_assert_cmpuint(decoder.message.sequence, ==, 5);
	g_assert_cmpuint(decoder.message.expected, ==, 9);
	length = wire_put_finish(bytes, LINK_RETURN, 77);
	g_assert_cmpint(feed(&decoder, bytes, length, 7, NULL), ==, WIRE_MESSAGE);
	g_assert_cmpint(decoder.message.type, ==, WIRE_FINISH);
	g_assert_cmpuint(decoder.message.sequence, ==, 77);
	length = wire_put_ping(bytes, WIRE_PING, 123456);
	g_assert_cmpint(feed(&decoder, bytes, length, 7, NULL), ==, WIRE_MESSAGE);
	g_assert_cmpuint(decoder.message.sequence, ==, 123456);
	/* More consumed than received. */
	length = wire_put_ack(bytes, LINK_MEMORY, 10, 9);
	g_assert_cmpint(feed(&decoder, bytes, length, 7, NULL), ==, WIRE_BAD);
}

static void test_close(void)
{
	uint8_t bytes[1024];
	struct wire_decoder decoder;
	wire_decoder_init(&decoder, false);
	size_t length = wire_put_close(bytes, "no\033[31m good\n\xff");
	g_assert_cmpint(feed(&decoder, bytes, length, 3, NULL), ==, WIRE_MESSAGE);
	g_assert_cmpstr(decoder.message.reason, ==, "no?[31m good??");
	length = wire_put_close(bytes, "");
	g_assert_cmpint(feed(&decoder, bytes, length, 3, NULL), ==, WIRE_MESSAGE);
	g_assert_cmpstr(decoder.message.reason, ==, "");
	/* A long one is cut between characters. */
	g_autofree char *text = g_strnfill(WIRE_REASON_MAX - 1, 'a');
	g_autofree char *longer = g_strconcat(text, "\xe6\xb8\xa1\xe3\x82\x8a", NULL);
	length = wire_put_close(bytes, longer);
	g_assert_cmpint(feed(&decoder, bytes, length, 1000, NULL), ==, WIRE_MESSAGE);
	g_assert_cmpstr(decoder.message.reason, ==, text);
	/* Longer than allowed. */
	bytes[2] = 3;
	g_assert_cmpint(feed(&decoder, bytes, length, 1000, NULL), ==, WIRE_BAD);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/wire/hello", test_hello);
	g_test_add_func("/wire/hello-refused", test_hello_refused);
	g_test_add_func("/wire/data", test_data);
	g_test_add_func("/wire/data-refused", test_data_refused);
	g_test_add_func("/wire/small-messages", test_small_messages);
	g_test_add_func("/wire/close", test_close);
	return g_test_run();
}
