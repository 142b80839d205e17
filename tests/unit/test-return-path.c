/* SPDX-License-Identifier: Apache-2.0 */
/* The return path: captured ones and hand-made ones, any chunking, cut off anywhere. */
#include <string.h>
#include "stream-kit.h"
#include "stream/return_path.h"

struct seen {
	uint32_t type; /* no padding: compared as memory */
	uint32_t value;
	uint64_t length; /* fragments put together */
};

static GArray *read_all(const uint8_t *data, size_t length, size_t chunk_max, size_t *left)
{
	struct return_reader *reader = return_reader_new();
	GArray *seen = g_array_new(FALSE, FALSE, sizeof(struct seen));
	struct return_message message;
	size_t done = 0;
	const uint8_t *rest;
	for (size_t at = 0; at < length;) {
		size_t chunk = MIN(chunk_max, length - at);
		g_autofree uint8_t *copy = g_memdup2(data + at, chunk);
		return_reader_feed(reader, copy, chunk);
		at += chunk;
		while (return_reader_next(reader, &message)) {
			g_assert_cmpuint(message.length, <=, length - done);
			g_assert_true(!memcmp(message.bytes, data + done, message.length));
			done += message.length;
			if (message.first) {
				struct seen one = { message.type, message.value, message.length };
				g_array_append_val(seen, one);
			} else {
				g_array_index(seen, struct seen, seen->len - 1).length +=
					message.length;
			}
		}
	}
	*left = return_reader_flush(reader, &rest);
	g_assert_cmpuint(done + *left, ==, length);
	g_assert_true(!*left || !memcmp(rest, data + done, *left));
	return_reader_free(reader);
	return seen;
}

/* All chunkings give the same; returns it. */
static GArray *check(const uint8_t *data, size_t length)
{
	size_t left, other_left;
	GArray *whole = read_all(data, length, SIZE_MAX, &left);
	for (size_t chunk = 1; chunk < 24; chunk++) {
		g_autoptr(GArray) other = read_all(data, length, chunk, &other_left);
		g_assert_cmpuint(left, ==, other_left);
		g_assert_cmpuint(whole->len, ==, other->len);
		g_assert_true(whole->len == 0 ||
			      !memcmp(whole->data, other->data, whole->len * sizeof(struct seen)));
	}
	return whole;
}

static void test_captures(void)
{
	g_autoptr(GPtrArray) names = kit_captures();
	for (guint i = 0; i < names->len; i++) {
		g_autoptr(GBytes) bytes = kit_capture_return(names->pdata[i]);
		gsize length;
		const uint8_t *data = g_bytes_get_data(bytes, &length);
		g_autoptr(GArray) seen = check(data, length);
		g_assert_cmpuint(seen->len, >=, 2);
		struct seen *first = &g_array_index(seen, struct seen, 0);
		struct seen *last = &g_array_index(seen, struct seen, seen->len - 1);
		g_assert_cmpuint(first->type, ==, RETURN_PONG);
		g_assert_cmpuint(first->value, ==, 1);
		g_assert_cmpuint(last->type, ==, RETURN_SHUT);
		g_assert_cmpuint(last->value, ==, 0);
	}
}

static GByteArray *all_kinds(void)
{
	GByteArray *out = g_byte_array_new();
	put_u16(out, RETURN_REQUEST_PAGES_ID);
	put_u16(out, 19);
	put_u64(out, 0x1000);
	put_u32(out, 4096);
	put_name(out, "pc.ram");
	put_u16(out, RETURN_REQUEST_PAGES);
	put_u16(out, 12);
	put_fill(out, 0, 12);
	put_u16(out, RETURN_RECV_BITMAP);
	put_u16(out, 7);
	put_name(out, "pc.ram");
	put_u64(out, 24);
	put_fill(out, 0xff, 24);
	put_u64(out, 0x0123456789abcdef);
	put_u16(out, RETURN_RECV_BITMAP);
	put_u16(out, 2);
	put_name(out, "x");
	put_u64(out, 0);
	put_u64(out, 0x0123456789abcdef);
	put_u16(out, RETURN_RESUME_ACK);
	put_u16(out, 4);
	put_u32(out, 1);
	put_u16(out, RETURN_SWITCHOVER_ACK);
	put_u16(out, 0);
	put_u16(out, 4711); /* not known */
	put_u16(out, 9);
	put_fill(out, 1, 9);
	put_u16(out, RETURN_SHUT);
	put_u16(out, 4);
	put_u32(out, 1);
	return out;
}

static void test_kinds(void)
{
	static const struct seen expected[] = {
		{ RETURN_REQUEST_PAGES_ID, 0, 23 },
		{ RETURN_REQUEST_PAGES, 0, 16 },
		{ RETURN_RECV_BITMAP, 0, 11 + 8 + 24 + 8 },
		{ RETURN_RECV_BITMAP, 0, 6 + 8 + 8 },
		{ RETURN_RESUME_ACK, 1, 8 },
		{ RETURN_SWITCHOVER_ACK, 0, 4 },
		{ 4711, 0, 13 },
		{ RETURN_SHUT, 1, 8 },
	};
	g_autoptr(GByteArray) out = all_kinds();
	g_autoptr(GArray) seen = check(out->data, out->len);
	g_assert_cmpuint(seen->len, ==, G_N_ELEMENTS(expected));
	for (guint i = 0; i < seen->len; i++) {
		struct seen *one = &g_array_index(seen, struct seen, i);
		g_assert_cmpuint(one->type, ==, expected[i].type);
		g_assert_cmpuint(one->value, ==, expected[i].value);
		g_assert_cmpuint(one->length, ==, expected[i].length);
	}
}

static void test_cut_off(void)
{
	g_autoptr(GByteArray) out = all_kinds();
	for (size_t at = 0; at <= out->len; at++) {
		g_array_unref(check(out->data, at));
	}
}

/* A SHUT that QEMU would refuse must not read as success. */
static void test_odd_shut(void)
{
	static const uint8_t shut[] = { 0, 1, 0, 3, 0, 0, 0 };
	g_autoptr(GArray) seen = check(shut, sizeof(shut));
	g_assert_cmpuint(g_array_index(seen, struct seen, 0).value, ==, UINT32_MAX);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/return-path/captures", test_captures);
	g_test_add_func("/return-path/kinds", test_kinds);
	g_test_add_func("/return-path/cut-off", test_cut_off);
	g_test_add_func("/return-path/odd-shut", test_odd_shut);
	return g_test_run();
}
