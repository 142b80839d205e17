/* SPDX-License-Identifier: Apache-2.0 */
/* The reader on hand-made streams: what no capture shows, and damage. Every stream made here is
 * also read in several chunkings and cut off at every offset, and must give back all its bytes.
 */
#include <string.h>
#include "stream-kit.h"

static const struct chunking whole = { .name = "whole", .fixed = SIZE_MAX };
static const struct chunking chunkings[] = {
	{ .name = "1 byte", .fixed = 1 },
	{ .name = "13 bytes", .fixed = 13 },
	{ .name = "random up to 300", .limit = 300, .seed = 7 },
};

static GArray *read_new(const uint8_t *data, size_t length, const struct chunking *chunking,
			const char **reason)
{
	struct stream_reader *reader = stream_reader_new();
	GArray *records = kit_read(reader, data, length, chunking);
	*reason = stream_reader_opaque_reason(reader);
	stream_reader_free(reader);
	return records;
}

/* A stream cut off at AT gives the same records up to there. */
static void check_prefix(GByteArray *stream, size_t at, GArray *records)
{
	const char *reason;
	g_autoptr(GArray) part = read_new(stream->data, at, &whole, &reason);
	for (guint i = 0; i < part->len; i++) {
		struct whole_record *cut = &g_array_index(part, struct whole_record, i);
		struct whole_record *full = &g_array_index(records, struct whole_record, i);
		if (cut->kind == STREAM_OPAQUE)
			break; /* the unfinished record */
		g_assert_cmpint(cut->kind, ==, full->kind);
		g_assert_cmpuint(cut->at, ==, full->at);
	}
}

/* Read it in all ways. Goes opaque at OPAQUE_AT for a reason with REASON in it, or never where
 * REASON is NULL. Frees the stream, returns the records. */
static GArray *check(GByteArray *stream, uint64_t opaque_at, const char *reason_part)
{
	const char *reason;
	GArray *records = read_new(stream->data, stream->len, &whole, &reason);
	if (!reason_part) {
		g_assert_cmpstr(reason, ==, NULL);
		g_assert_cmpuint(kit_count(records, STREAM_OPAQUE), ==, 0);
	} else {
		g_assert_nonnull(reason);
		if (!strstr(reason, reason_part))
			g_error("reason \"%s\", not \"%s\"", reason, reason_part);
		g_assert_cmpuint(kit_find(records, STREAM_OPAQUE), ==, opaque_at);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(chunkings); i++) {
		g_autoptr(GArray) others =
			read_new(stream->data, stream->len, &chunkings[i], &reason);
		kit_assert_same(records, others);
	}
	for (size_t at = 0; at < stream->len; at++)
		check_prefix(stream, at, records);
	g_byte_array_unref(stream);
	return records;
}

static void check_opaque(GByteArray *stream, uint64_t at, const char *reason_part)
{
	g_array_unref(check(stream, at, reason_part));
}

static GByteArray *beginning(void)
{
	GByteArray *out = g_byte_array_new();
	put_beginning(out);
	return out;
}

static void put_ram_end(GByteArray *out)
{
	put_u64(out, 0x10);
	put_footer(out, 2);
}

/* Where something unexpected is going to be put. */
#define HERE(stream) ((uint64_t) (stream)->len)

static void test_small(void)
{
	GByteArray *out = beginning();
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
	g_autoptr(GArray) records = check(out, 0, NULL);
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
	g_autoptr(GByteArray) out = beginning();
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
	g_autoptr(GByteArray) out = beginning();
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
	g_array_unref(kit_read(reader, out->data, out->len, &whole));
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
	g_autoptr(GArray) records = kit_read(reader, out->data, out->len, &chunkings[1]);
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
	g_autoptr(GArray) records = check(out, 0, NULL);
	g_assert_cmpuint(kit_count(records, STREAM_FOOTER), ==, 5);
	g_assert_cmpuint(kit_count(records, STREAM_OTHER), ==, 13);
}

static void test_ram_kinds(void)
{
	GByteArray *out = beginning();
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
	g_autoptr(GArray) records = check(out, 0, NULL);
	g_assert_cmpuint(kit_count(records, STREAM_XBZRLE_PAGE), ==, 1);
	g_assert_cmpuint(kit_count(records, STREAM_COMPRESSED_PAGE), ==, 1);
	g_assert_cmpuint(kit_count(records, STREAM_RAM_MARK), ==, 1);
}

/* The package is a record of its own, and the reader is in step after it. */
static void test_postcopy(void)
{
	const uint8_t advise[16] = { [6] = 0x10, [14] = 0x10 };
	const uint8_t package[4] = { 0, 0, 0, 50 };
	GByteArray *out = beginning();
	put_command(out, 3, advise, 16);
	put_command(out, 6, "\0\1a\0................", 20);
	put_command(out, 7, package, 4);
	put_fill(out, 4, 50);
	put_part(out, 3, 2);
	put_page(out, "b", 4096, 1);
	put_ram_end(out);
	put_u8(out, 0);
	g_autoptr(GArray) records = check(out, 0, NULL);
	g_assert_cmpuint(kit_count(records, STREAM_DEVICE_STATE), ==, 1);
	g_assert_cmpuint(kit_count(records, STREAM_EOF), ==, 1);
}

static void test_description(void)
{
	GByteArray *out = beginning();
	put_part(out, 3, 2);
	put_ram_end(out);
	put_u8(out, 0);
	put_u8(out, 6);
	put_u32(out, 30);
	put_fill(out, ' ', 30);
	uint64_t here = HERE(out);
	put_u8(out, 6);
	put_fill(out, 0, 9);
	g_autoptr(GArray) records = check(out, here, "after the end");
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
	check_opaque(out, here, "element");
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
	check_opaque(block_list(false, NULL, 0), 0, NULL);
	check_opaque(block_list(false, huge_at, 1), 0, NULL);
	check_opaque(block_list(true, at_zero, 1), 0, NULL);
	check_opaque(block_list(true, huge_at, 2), 0, NULL);
	/* 8 magic, 7 configuration, 17 section, 8 word, 13 entry */
	check_opaque(block_list(true, NULL, 0), 8 + 7 + 52 + 17 + 8 + 13, "address");
	check_opaque(block_list(false, huge_at, 2), 8 + 7 + 17 + 8 + 13 + 8, "proper name");
	check_opaque(block_list(false, odd, 1), 8 + 7 + 17 + 8 + 13, "page size");
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
		g_autoptr(GArray) records = kit_read(reader, out->data, out->len, &chunkings[2]);
		bool fits = count == STREAM_BLOCKS_MAX;
		g_assert_cmpint(!stream_reader_opaque_reason(reader), ==, fits);
		if (fits)
			g_assert_cmpuint(
				g_array_index(records, struct whole_record, records->len - 1).block,
				==, 4095);
		stream_reader_free(reader);
	}
}

/* Something unexpected after the beginning of a PART. */
struct damage {
	const char *name;
	const char *reason;
	uint64_t word;    /* the record's word */
	const char *tail; /* what follows it, in hexadecimal */
};

static const struct damage damages[] = {
	{ "two-flags", "not known", 0x1000 | 0x0a, "0161" },
	{ "no-flag", "not known", 0x1000, "0161" },
	{ "continued-end", "not known", 0x30, "" },
	{ "hook", "RDMA", 0x80, "00" },
	{ "unknown-block", "not announced", 0x08, "0163" },
	{ "empty-name", "not announced", 0x08, "0000" },
	{ "continue-nothing", "not announced", 0x28, "00" },
	{ "past-the-end", "past the end", 0x8000 | 0x08, "0161" },
	{ "far-past-the-end", "past the end", 0xfffffffffffff000 | 0x02, "016100" },
	{ "filled-page", "else than zeroes", 0x02, "016101" },
	{ "xbzrle-kind", "XBZRLE", 0x40, "0161020001ff" },
	{ "xbzrle-length", "XBZRLE", 0x40, "0161011001ff" },
	{ "compressed-length", "compressed", 0x100, "01617fffffff" },
	{ "second-list", "second list", 0x1004, "0161" },
};

static void put_hex(GByteArray *out, const char *hex)
{
	for (; *hex; hex += 2)
		put_u8(out, (uint8_t) (g_ascii_xdigit_value(hex[0]) << 4 |
				       g_ascii_xdigit_value(hex[1])));
}

static void test_damage(gconstpointer data)
{
	const struct damage *damage = data;
	GByteArray *out = beginning();
	put_part(out, 2, 2);
	uint64_t here = HERE(out);
	put_u64(out, damage->word);
	put_hex(out, damage->tail);
	put_fill(out, 0x55, 50);
	check_opaque(out, here, damage->reason);
}

/* Something unexpected in place of an element after the ram START. */
static const struct damage elements[] = {
	{ "subsection", "element", 0, "0504616263640000000100" },
	{ "early-full", "device state", 0, "0400000009037061740000000000000001" },
	{ "unknown-start", "comes in parts", 0, "01000000090568746162210000000000000001" },
	{ "suffix-only", "comes in parts", 0, "0100000009057876666966000000000000000100" },
	{ "ram-version", "comes in parts", 0, "010000000903726 16d0000000000000005" },
	{ "twice", "begins twice", 0, "01000000020372616d0000000000000004" },
	{ "foreign-part", "not open", 0, "02000000030000000000000010" },
	{ "package", "without a length", 0, "08000700020000" },
	{ "advise", "page size", 0, "080003001000000000000010000000000000001001" },
	{ "page-change", "changes", 0, "080003001000000000000020000000000000002000" },
};

static void test_element(gconstpointer data)
{
	const struct damage *damage = data;
	g_auto(GStrv) words = g_strsplit(damage->tail, " ", -1);
	g_autofree char *hex = g_strjoinv("", words);
	GByteArray *out = beginning();
	uint64_t here = HERE(out);
	put_hex(out, hex);
	put_fill(out, 0x55, 50);
	check_opaque(out, here, damage->reason);
}

static void test_beginning_damage(void)
{
	static const struct damage heads[] = {
		{ "magic", "begin like", 0, "5145564e0000000355" },
		{ "version", "version", 0, "5145564d0000000455" },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(heads); i++) {
		GByteArray *out = g_byte_array_new();
		put_hex(out, heads[i].tail);
		check_opaque(out, 0, heads[i].reason);
	}
	GByteArray *name = g_byte_array_new();
	put_header(name, NULL);
	put_hex(name, "07ffffffff55");
	check_opaque(name, 8, "machine name");
	GByteArray *subsection = g_byte_array_new();
	put_header(subsection, "pc");
	put_hex(subsection, "050161000000015555");
	check_opaque(subsection, 15, "subsection");
	GByteArray *capability = g_byte_array_new();
	put_header(capability, "pc");
	put_u8(capability, 5);
	put_name(capability, "configuration/capabilities");
	put_hex(capability, "0000000100000001046d616765");
	check_opaque(capability, 15, "capability");
}

static void test_footer_damage(void)
{
	GByteArray *out = beginning();
	put_part(out, 2, 2);
	put_u64(out, 0x10);
	uint64_t here = HERE(out);
	put_footer(out, 3);
	check_opaque(out, here, "another section");
	out = beginning();
	put_part(out, 2, 2);
	put_u64(out, 0x10);
	here = HERE(out);
	put_part(out, 2, 2);
	check_opaque(out, here, "does not end");
}

static void test_ended(void)
{
	GByteArray *out = beginning();
	put_part(out, 3, 2);
	put_ram_end(out);
	uint64_t here = HERE(out);
	put_part(out, 2, 2);
	check_opaque(out, here, "not open");
}

/* What comes after a flush is opaque: the reader is out of step. */
static void test_flush(void)
{
	g_autoptr(GByteArray) out = beginning();
	struct stream_reader *reader = stream_reader_new();
	struct stream_record record;
	const uint8_t *rest;
	stream_reader_feed(reader, out->data, 3);
	g_assert_false(stream_reader_next(reader, &record));
	g_assert_cmpuint(stream_reader_flush(reader, &rest), ==, 3);
	g_assert_true(!memcmp(rest, out->data, 3));
	g_assert_cmpuint(stream_reader_flush(reader, &rest), ==, 0);
	stream_reader_feed(reader, out->data + 3, out->len - 3);
	g_assert_true(stream_reader_next(reader, &record));
	g_assert_cmpint(record.kind, ==, STREAM_OPAQUE);
	g_assert_false(record.first);
	g_assert_cmpuint(record.length, ==, out->len - 3);
	g_assert_false(stream_reader_next(reader, &record));
	g_assert_cmpuint(stream_reader_stats(reader)->bytes, ==, out->len);
	stream_reader_free(reader);
}

/* Captured streams with one byte changed or cut off in their first part: whatever it turns them
 * into, no byte is lost and the chunking does not matter. */
static void test_mangled_capture(void)
{
	g_autoptr(GBytes) stream = kit_capture_stream("bitmaps");
	gsize length;
	const uint8_t *bytes = g_bytes_get_data(stream, &length);
	for (size_t at = 0; at < 700; at++) {
		const char *reason, *other_reason;
		g_autofree uint8_t *copy = g_memdup2(bytes, 60000);
		copy[at] ^= (uint8_t) (1U << at % 8);
		g_autoptr(GArray) one = read_new(copy, 60000, &whole, &reason);
		g_autoptr(GArray) two = read_new(copy, 60000, &chunkings[2], &other_reason);
		kit_assert_same(one, two);
		g_assert_cmpstr(reason, ==, other_reason);
		g_array_unref(read_new(bytes, at, &whole, &reason));
	}
}

static void test_names(void)
{
	for (int kind = 0; kind < STREAM_KIND_LAST; kind++)
		g_assert_nonnull(stream_kind_name(kind));
	g_assert_cmpstr(stream_kind_name(STREAM_KIND_LAST), ==, "unknown");
}

static void add_table(const char *path, const struct damage *table, size_t count,
		      GTestDataFunc test)
{
	for (size_t i = 0; i < count; i++) {
		g_autofree char *name = g_strconcat(path, table[i].name, NULL);
		g_test_add_data_func(name, &table[i], test);
	}
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
	g_test_add_func("/stream/description", test_description);
	g_test_add_func("/stream/no-footers", test_no_footers);
	g_test_add_func("/stream/block-fields", test_block_fields);
	g_test_add_func("/stream/many-blocks", test_many_blocks);
	g_test_add_func("/stream/damage/beginning", test_beginning_damage);
	g_test_add_func("/stream/damage/footer", test_footer_damage);
	g_test_add_func("/stream/damage/ended", test_ended);
	g_test_add_func("/stream/flush", test_flush);
	g_test_add_func("/stream/mangled-capture", test_mangled_capture);
	g_test_add_func("/stream/names", test_names);
	add_table("/stream/damage/ram/", damages, G_N_ELEMENTS(damages), test_damage);
	add_table("/stream/damage/element/", elements, G_N_ELEMENTS(elements), test_element);
	return g_test_run();
}
