/* SPDX-License-Identifier: Apache-2.0 */
/* The reader on hand-made streams: what no capture shows. Every stream made here is
 * also read in several chunkings and cut off at every offset, and must give back all its bytes.
 */
#include <string.h>
#include "stream-kit.h"

static const struct chunking chunkings[] = {
	{ .name = "13 bytes", .fixed = 13 },
	{ .name = "random up to 300", .limit = 300, .seed = 7 },
};

static void test_small(void)
{
	GByteArray *out = kit_beginning();
	put_part(out, 2, 2);
	put_page(out, "a", 0, 1);
	put_page(out, NULL, 4096, 2);
	put_zero_page(out, "b", 8192);
	put_zero_page(out, NULL, 12288);
	put_ram_end(out);
	put_part(out, 3, 2);
	put_page(out, "a", 0, 3);
	put_ram_end(out);
	put_section(out, 4, 9, "timer", 1);
	put_fill(out, 0x7e, 100);
	g_autoptr(GArray) records = kit_check(out, 0, NULL);
	g_assert_cmpuint(kit_count(records, STREAM_PAGE), ==, 3);
	g_assert_cmpuint(kit_count(records, STREAM_ZERO_PAGE), ==, 2);
	g_assert_cmpuint(kit_count(records, STREAM_BLOCK_LIST), ==, 1);
	g_assert_cmpuint(kit_count(records, STREAM_DEVICE_STATE), ==, 1);
	struct whole_record last_zero = g_array_index(records, struct whole_record, 10);
	g_assert_cmpint(last_zero.kind, ==, STREAM_ZERO_PAGE);
	g_assert_cmpuint(last_zero.block, ==, 1);
	g_assert_cmpuint(last_zero.offset, ==, 12288);
}

static void test_page_content(void)
{
	g_autoptr(GByteArray) out = kit_beginning();
	put_part(out, 2, 2);
	put_page(out, "b", 4096, 0xab);
	struct stream_reader *reader = stream_reader_new();
	struct stream_record record;
	stream_reader_feed(reader, out->data, out->len);
	while (stream_reader_next(reader, &record))
		if (record.kind == STREAM_PAGE)
			break;
	g_assert_cmpint(record.kind, ==, STREAM_PAGE);
	g_assert_true(record.page == out->data + out->len - 4096); /* not copied */
	g_assert_cmpuint(record.page[0], ==, 0xab);
	g_assert_cmpstr(stream_reader_block(reader, record.block)->name, ==, "b");
	g_assert_null(stream_reader_block(reader, 2));
	g_assert_false(stream_reader_next(reader, &record));
	stream_reader_free(reader);
}

static void test_iterations(void)
{
	g_autoptr(GByteArray) out = kit_beginning();
	put_part(out, 2, 2);
	put_zero_page(out, "a", 0); /* first */
	put_zero_page(out, NULL, 8192);
	put_zero_page(out, "b", 0);
	put_zero_page(out, "a", 4096);  /* second */
	put_zero_page(out, NULL, 4096); /* third: the same page again */
	put_ram_end(out);
	put_part(out, 2, 2);
	put_zero_page(out, NULL, 8192); /* still the third */
	put_ram_end(out);
	put_part(out, 3, 2);
	put_zero_page(out, NULL, 12288); /* fourth: the end */
	put_zero_page(out, NULL, 16384);
	put_ram_end(out);
	struct stream_reader *reader = stream_reader_new();
	g_array_unref(kit_read(reader, out->data, out->len, &kit_whole));
	g_assert_cmpuint(stream_reader_stats(reader)->iterations, ==, 4);
	g_assert_true(stream_reader_stats(reader)->stopped);
	stream_reader_free(reader);
}

static void test_wide_pages(void)
{
	GByteArray *out = g_byte_array_new();
	put_header(out, "virt-9.0");
	put_u8(out, 5);
	put_name(out, "configuration/target-page-bits");
	put_u32(out, 1);
	put_u32(out, 16);
	put_section(out, 1, 3, "ram", 4);
	put_u64(out, 0x40000 | 4);
	put_name(out, "mach-virt.ram");
	put_u64(out, 0x40000);
	put_u64(out, 0x10);
	put_footer(out, 3);
	put_part(out, 2, 3);
	put_u64(out, 0x30000 | 8);
	put_name(out, "mach-virt.ram");
	put_fill(out, 5, 65536);
	put_u64(out, 0x10);
	put_footer(out, 3);
	struct stream_reader *reader = stream_reader_new();
	g_autoptr(GArray) records = kit_read(reader, out->data, out->len, &chunkings[0]);
	g_assert_cmpuint(stream_reader_page_size(reader), ==, 65536);
	g_assert_cmpuint(kit_count(records, STREAM_PAGE), ==, 1);
	g_assert_cmpstr(stream_reader_opaque_reason(reader), ==, NULL);
	stream_reader_free(reader);
	g_byte_array_unref(out);
}

static void test_other_sections(void)
{
	GByteArray *out = g_byte_array_new();
	put_header(out, "pc");
	put_section(out, 4, 1, "0000:00:05.0/virtio-mem-device-early", 1);
	put_u64(out, 1ULL << 32);
	put_u64(out, 130 << 20);
	put_u64(out, 1 << 20);
	put_u32(out, 0);
	put_u64(out, 1 << 20);
	put_fill(out, 0x7e, 3 * 8); /* 130 blocks: three words */
	put_footer(out, 1);
	put_section(out, 1, 7, "0000:00:03.0/vfio", 1);
	put_u64(out, 0xffffffffef100003ULL);
	put_u64(out, 0xffffffffef100001ULL);
	put_footer(out, 7);
	put_section(out, 1, 8, "dirty-bitmap", 1);
	put_u8(out, 0x10 | 8 | 4);
	put_name(out, "drive");
	put_name(out, "bitmap");
	put_u32(out, 65536);
	put_u8(out, 1);
	put_u8(out, 1);
	put_footer(out, 8);
	put_part(out, 2, 7);
	put_u64(out, 0xffffffffef100004ULL);
	put_u64(out, 11);
	put_fill(out, 0xff, 11);
	put_u64(out, 0xffffffffef100004ULL);
	put_u64(out, 0);
	put_u64(out, 0xffffffffef100005ULL);
	put_u64(out, 0xffffffffef100001ULL);
	put_footer(out, 7);
	put_part(out, 3, 8);
	put_u8(out, 0x40);
	put_u64(out, 0);
	put_u32(out, 128);
	put_u64(out, 5);
	put_fill(out, 1, 5);
	put_u8(out, 0x40 | 2);
	put_u64(out, 128);
	put_u32(out, 128);
	put_u8(out, 0x20);
	put_u8(out, 1);
	put_footer(out, 8);
	g_autoptr(GArray) records = kit_check(out, 0, NULL);
	g_assert_cmpuint(kit_count(records, STREAM_FOOTER), ==, 5);
	g_assert_cmpuint(kit_count(records, STREAM_OTHER), ==, 13);
}

static void test_ram_kinds(void)
{
	GByteArray *out = kit_beginning();
	put_part(out, 2, 2);
	put_u64(out, 0x1000 | 0x40);
	put_name(out, "a");
	put_u8(out, 1);
	put_u16(out, 6);
	put_fill(out, 9, 6);
	put_u64(out, 0x2000 | 0x100 | 0x20);
	put_u32(out, 20);
	put_fill(out, 9, 20);
	put_u64(out, 0x200);
	put_ram_end(out);
	g_autoptr(GArray) records = kit_check(out, 0, NULL);
	g_assert_cmpuint(kit_count(records, STREAM_XBZRLE_PAGE), ==, 1);
	g_assert_cmpuint(kit_count(records, STREAM_COMPRESSED_PAGE), ==, 1);
	g_assert_cmpuint(kit_count(records, STREAM_RAM_MARK), ==, 1);
}

/* The package is a record of its own, and the reader is in step after it. */
static void test_postcopy(void)
{
	const uint8_t advise[16] = { [6] = 0x10, [14] = 0x10 };
	const uint8_t package[4] = { 0, 0, 0, 50 };
	GByteArray *out = kit_beginning();
	put_command(out, 3, advise, 16);
	put_command(out, 6, "\0\1a\0................", 20);
	put_command(out, 7, package, 4);
	put_fill(out, 4, 50);
	put_part(out, 3, 2);
	put_page(out, "b", 4096, 1);
	put_ram_end(out);
	put_u8(out, 0);
	g_autoptr(GArray) records = kit_check(out, 0, NULL);
	g_assert_cmpuint(kit_count(records, STREAM_DEVICE_STATE), ==, 1);
	g_assert_cmpuint(kit_count(records, STREAM_EOF), ==, 1);
}

static struct stream_stats stats_after(const GByteArray *out, size_t length)
{
	struct stream_reader *reader = stream_reader_new();
	struct stream_record record;
	stream_reader_feed(reader, out->data, length);
	while (stream_reader_next(reader, &record))
		continue;
	struct stream_stats stats = *stream_reader_stats(reader);
	stream_reader_free(reader);
	return stats;
}

/* Between "the VM stopped" and "the source's QEMU has not failed" lies the whole package: who hands its
 * last byte on before the next command is whole could make two running copies. */
static void test_commit(void)
{
	const uint8_t package[4] = { 0, 0, 0, 50 };
	g_autoptr(GByteArray) out = kit_beginning();
	size_t beginning = out->len;
	put_command(out, 6, "\0\1a\0................", 20);
	size_t discard = out->len;
	put_command(out, 7, package, 4);
	put_fill(out, 4, 50);
	size_t packaged = out->len;
	put_command(out, 2, package, 4);
	g_assert_false(stats_after(out, beginning).switching);
	for (size_t length = discard; length <= out->len; length++) {
		struct stream_stats stats = stats_after(out, length);
		g_assert_true(stats.switching);
		g_assert_cmpint(stats.postcopy, ==, length >= packaged - 50);
		g_assert_cmpint(stats.committed, ==, length == out->len);
	}
}

/* A post-copy that goes on after it broke has no header. */
static void test_resumed(void)
{
	GByteArray *out = g_byte_array_new();
	put_command(out, 10, "\6pc.ram", 7);
	put_command(out, 9, "", 0);
	put_part(out, 2, 2);
	put_page(out, "pc.ram", 4096, 1);
	put_ram_end(out);
	g_assert_true(stats_after(out, out->len).resumed);
	g_autoptr(GArray) records = kit_check(out, 0, NULL);
	g_assert_cmpuint(kit_count(records, STREAM_OTHER), ==, 1);
	g_assert_cmpuint(records->len, ==, 1);
}

static void test_description(void)
{
	GByteArray *out = kit_beginning();
	put_part(out, 3, 2);
	put_ram_end(out);
	put_u8(out, 0);
	put_u8(out, 6);
	put_u32(out, 30);
	put_fill(out, ' ', 30);
	uint64_t here = HERE(out);
	put_u8(out, 6);
	put_fill(out, 0, 9);
	g_autoptr(GArray) records = kit_check(out, here, "after the end");
	g_assert_cmpuint(kit_count(records, STREAM_DESCRIPTION), ==, 1);
}

static void test_no_footers(void)
{
	GByteArray *out = g_byte_array_new();
	put_header(out, NULL);
	put_section(out, 1, 2, "ram", 4);
	put_u64(out, 4096 | 4);
	put_name(out, "a");
	put_u64(out, 4096);
	put_u64(out, 0x10);
	put_part(out, 2, 2);
	put_zero_page(out, "a", 0);
	put_u64(out, 0x10);
	uint64_t here = HERE(out);
	put_footer(out, 2);
	kit_check_opaque(out, here, "element");
}

/* The fields of the block list that nothing announces. */
static GByteArray *block_list(bool ignore_shared, const uint64_t *fields, unsigned count)
{
	GByteArray *out = g_byte_array_new();
	put_header(out, "pc");
	if (ignore_shared) {
		put_u8(out, 5);
		put_name(out, "configuration/capabilities");
		put_u32(out, 1);
		put_u32(out, 1);
		put_name(out, "x-ignore-shared");
	}
	put_section(out, 1, 2, "ram", 4);
	put_u64(out, 0x300000 | 4);
	put_name(out, "huge");
	put_u64(out, 0x200000);
	for (unsigned i = 0; i < count; i++)
		put_u64(out, fields[i]);
	put_name(out, "last");
	put_u64(out, 0x100000);
	for (unsigned i = 0; i < count; i++)
		put_u64(out, fields[i]);
	put_ram_end(out);
	return out;
}

static void test_block_fields(void)
{
	const uint64_t huge_at[] = { 0x200000, 0x100000000 };
	const uint64_t at_zero[] = { 0 };
	const uint64_t odd[] = { 0x201000 };
	kit_check_opaque(block_list(false, NULL, 0), 0, NULL);
	kit_check_opaque(block_list(false, huge_at, 1), 0, NULL);
	kit_check_opaque(block_list(true, at_zero, 1), 0, NULL);
	kit_check_opaque(block_list(true, huge_at, 2), 0, NULL);
	/* 8 magic, 7 configuration, 17 section, 8 word, 13 entry */
	kit_check_opaque(block_list(true, NULL, 0), 8 + 7 + 52 + 17 + 8 + 13, "address");
	kit_check_opaque(block_list(false, huge_at, 2), 8 + 7 + 17 + 8 + 13 + 8, "proper name");
	kit_check_opaque(block_list(false, odd, 1), 8 + 7 + 17 + 8 + 13, "page size");
}

static void test_many_blocks(void)
{
	for (unsigned count = STREAM_BLOCKS_MAX; count <= STREAM_BLOCKS_MAX + 1; count++) {
		g_autoptr(GByteArray) out = g_byte_array_new();
		put_header(out, NULL);
		put_section(out, 1, 2, "ram", 4);
		put_u64(out, (uint64_t) count * 4096 | 4);
		for (unsigned i = 0; i < count; i++) {
			char name[16];
			g_snprintf(name, sizeof(name), "block%u", i);
			put_name(out, name);
			put_u64(out, 4096);
		}
		put_ram_end(out);
		put_part(out, 2, 2);
		put_zero_page(out, "block4095", 0);
		struct stream_reader *reader = stream_reader_new();
		g_autoptr(GArray) records = kit_read(reader, out->data, out->len, &chunkings[1]);
		bool fits = count == STREAM_BLOCKS_MAX;
		g_assert_cmpint(!stream_reader_opaque_reason(reader), ==, fits);
		if (fits)
			g_assert_cmpuint(
				g_array_index(records, struct whole_record, records->len - 1).block,
				==, 4095);
		stream_reader_free(reader);
	}
}

static void test_names(void)
{
	for (int kind = 0; kind < STREAM_KIND_LAST; kind++)
		g_assert_nonnull(stream_kind_name(kind));
	g_assert_cmpstr(stream_kind_name(STREAM_KIND_LAST), ==, "unknown");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/stream/small", test_small);
	g_test_add_func("/stream/page-content", test_page_content);
	g_test_add_func("/stream/iterations", test_iterations);
	g_test_add_func("/stream/wide-pages", test_wide_pages);
	g_test_add_func("/stream/other-sections", test_other_sections);
	g_test_add_func("/stream/ram-kinds", test_ram_kinds);
	g_test_add_func("/stream/postcopy", test_postcopy);
	g_test_add_func("/stream/commit", test_commit);
	g_test_add_func("/stream/resumed", test_resumed);
	g_test_add_func("/stream/description", test_description);
	g_test_add_func("/stream/no-footers", test_no_footers);
	g_test_add_func("/stream/block-fields", test_block_fields);
	g_test_add_func("/stream/many-blocks", test_many_blocks);
	g_test_add_func("/stream/names", test_names);
	return g_test_run();
}
