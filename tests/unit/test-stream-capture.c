/* SPDX-License-Identifier: Apache-2.0 */
/* The reader on real streams (tests/stream, made by tests/capture/capture): the same records for
 * any chunking, no byte lost, and the numbers that QEMU and a second decoder give.
 */
#include <string.h>
#include "stream-kit.h"

static const struct chunking whole = { .name = "whole", .fixed = SIZE_MAX };
static const struct chunking chunkings[] = {
	{ .name = "1 byte", .fixed = 1 },
	{ .name = "7 bytes", .fixed = 7 },
	{ .name = "4093 bytes", .fixed = 4093 },
	{ .name = "4105 bytes", .fixed = 4105 },
	{ .name = "256 KiB", .fixed = 262144 },
	{ .name = "random up to 32", .limit = 32, .seed = 1 },
	{ .name = "random up to 9000", .limit = 9000, .seed = 2 },
	{ .name = "random up to 100000", .limit = 100000, .seed = 3 },
};

static uint64_t fact(GKeyFile *facts, const char *group, const char *key)
{
	return g_key_file_get_uint64(facts, group, key, NULL);
}

/* Each count of the second decoder. */
static void check_decoder(GKeyFile *facts, GArray *records)
{
	for (enum stream_kind kind = 0; kind < STREAM_KIND_LAST; kind++) {
		uint64_t expected = fact(facts, "decoder", stream_kind_name(kind));
		if (kit_count(records, kind) != expected)
			g_error("%s: %" G_GUINT64_FORMAT
				" records, the decoder counted %" G_GUINT64_FORMAT,
				stream_kind_name(kind), kit_count(records, kind), expected);
	}
}

/* What QEMU says of itself. Multifd pages are not on this connection; QEMU 7.2 counts pages that
 * it compressed or found unchanged and did not send. */
static void check_qemu(const char *name, GKeyFile *facts, const struct stream_stats *stats)
{
	if (!g_str_has_prefix(name, "multifd"))
		g_assert_cmpuint(stats->records[STREAM_PAGE], ==, fact(facts, "qemu", "normal"));
	if (!g_str_has_prefix(name, "compress") && !g_str_equal(name, "multifd-10.0"))
		g_assert_cmpuint(stats->records[STREAM_ZERO_PAGE], ==,
				 fact(facts, "qemu", "duplicate"));
	g_assert_cmpuint(stats->records[STREAM_XBZRLE_PAGE], <=, fact(facts, "qemu", "xbzrle"));
	g_assert_cmpuint(stats->records[STREAM_COMPRESSED_PAGE], <=,
			 fact(facts, "qemu", "compressed"));
	g_assert_cmpuint(stats->iterations, <=, fact(facts, "qemu", "dirty-sync-count"));
	/* under each plain pre-copy here the guest writes the same pages all the time */
	if (g_str_has_prefix(name, "passes") || g_str_has_prefix(name, "precopy"))
		g_assert_cmpuint(stats->iterations + 1, >=,
				 fact(facts, "qemu", "dirty-sync-count"));
	g_test_message("%s: %" G_GUINT64_FORMAT " iterations, dirty-sync-count %" G_GUINT64_FORMAT,
		       name, stats->iterations, fact(facts, "qemu", "dirty-sync-count"));
}

static void check_tail(const char *name, GArray *records, const struct stream_stats *stats,
		       GKeyFile *facts)
{
	bool postcopy = g_str_has_prefix(name, "postcopy");
	g_assert_true(stats->stopped);
	g_assert_cmpint(stats->postcopy, ==, postcopy);
	if (postcopy)
		g_assert_cmpuint(kit_count(records, STREAM_EOF), ==, 1);
	else
		g_assert_cmpuint(kit_find(records, STREAM_DEVICE_STATE), ==,
				 fact(facts, "decoder", "in-step-bytes"));
}

static void test_capture(gconstpointer data)
{
	const char *name = data;
	g_autoptr(GBytes) stream = kit_capture_stream(name);
	g_autoptr(GKeyFile) facts = kit_capture_facts(name);
	gsize length;
	const uint8_t *bytes = g_bytes_get_data(stream, &length);

	struct stream_reader *reader = stream_reader_new();
	g_autoptr(GArray) records = kit_read(reader, bytes, length, &whole);
	g_assert_cmpstr(stream_reader_opaque_reason(reader), ==, NULL);
	check_decoder(facts, records);
	check_qemu(name, facts, stream_reader_stats(reader));
	check_tail(name, records, stream_reader_stats(reader), facts);

	for (size_t i = 0; i < G_N_ELEMENTS(chunkings); i++) {
		struct stream_reader *other = stream_reader_new();
		g_autoptr(GArray) others = kit_read(other, bytes, length, &chunkings[i]);
		kit_assert_same(records, others);
		g_assert_true(!memcmp(stream_reader_stats(reader), stream_reader_stats(other),
				      sizeof(struct stream_stats)));
		stream_reader_free(other);
	}
	stream_reader_free(reader);
}

/* The block list of a real guest is understood, huge pages and addresses included. */
static void test_blocks(void)
{
	g_autoptr(GBytes) stream = kit_capture_stream("postcopy-huge");
	gsize length;
	const uint8_t *bytes = g_bytes_get_data(stream, &length);
	struct stream_reader *reader = stream_reader_new();
	g_array_unref(kit_read(reader, bytes, length, &whole));
	const struct stream_block *block = stream_reader_block(reader, 0);
	g_assert_cmpstr(block->name, ==, "m");
	g_assert_cmpuint(block->used_bytes, ==, 8 << 20);
	g_assert_cmpstr(stream_reader_block(reader, 1)->name, ==, "/rom@etc/acpi/tables");
	g_assert_cmpuint(stream_reader_page_size(reader), ==, 4096);
	stream_reader_free(reader);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	GPtrArray *names = kit_captures();
	g_assert_cmpuint(names->len, >=, 20);
	for (guint i = 0; i < names->len; i++) {
		g_autofree char *path = g_strconcat("/stream/capture/", names->pdata[i], NULL);
		g_test_add_data_func(path, names->pdata[i], test_capture);
	}
	g_test_add_func("/stream/blocks", test_blocks);
	int result = g_test_run();
	g_ptr_array_unref(names);
	return result;
}
