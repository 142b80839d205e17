/* SPDX-License-Identifier: Apache-2.0 */
/* The reader on damaged streams: opaque from the very unit that does not fit, for the right reason,
 * and never a byte lost.
 */
#include <string.h>
#include "stream-kit.h"

static const struct chunking crumbs = { .name = "random up to 300", .limit = 300, .seed = 7 };

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

static void test_damage(gconstpointer data)
{
	const struct damage *damage = data;
	GByteArray *out = kit_beginning();
	put_part(out, 2, 2);
	uint64_t here = HERE(out);
	put_u64(out, damage->word);
	put_hex(out, damage->tail);
	put_fill(out, 0x55, 50);
	kit_check_opaque(out, here, damage->reason);
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
	GByteArray *out = kit_beginning();
	uint64_t here = HERE(out);
	put_hex(out, hex);
	put_fill(out, 0x55, 50);
	kit_check_opaque(out, here, damage->reason);
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
		kit_check_opaque(out, 0, heads[i].reason);
	}
	GByteArray *name = g_byte_array_new();
	put_header(name, NULL);
	put_hex(name, "07ffffffff55");
	kit_check_opaque(name, 8, "machine name");
	GByteArray *subsection = g_byte_array_new();
	put_header(subsection, "pc");
	put_hex(subsection, "050161000000015555");
	kit_check_opaque(subsection, 15, "subsection");
	GByteArray *capability = g_byte_array_new();
	put_header(capability, "pc");
	put_u8(capability, 5);
	put_name(capability, "configuration/capabilities");
	put_hex(capability, "0000000100000001046d616765");
	kit_check_opaque(capability, 15, "capability");
}

static void test_footer_damage(void)
{
	GByteArray *out = kit_beginning();
	put_part(out, 2, 2);
	put_u64(out, 0x10);
	uint64_t here = HERE(out);
	put_footer(out, 3);
	kit_check_opaque(out, here, "another section");
	out = kit_beginning();
	put_part(out, 2, 2);
	put_u64(out, 0x10);
	here = HERE(out);
	put_part(out, 2, 2);
	kit_check_opaque(out, here, "does not end");
}

static void test_ended(void)
{
	GByteArray *out = kit_beginning();
	put_part(out, 3, 2);
	put_ram_end(out);
	uint64_t here = HERE(out);
	put_part(out, 2, 2);
	kit_check_opaque(out, here, "not open");
}

/* What comes after a flush is opaque: the reader is out of step. */
static void test_flush(void)
{
	g_autoptr(GByteArray) out = kit_beginning();
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
		g_autoptr(GArray) one = kit_read_new(copy, 60000, &kit_whole, &reason);
		g_autoptr(GArray) two = kit_read_new(copy, 60000, &crumbs, &other_reason);
		kit_assert_same(one, two);
		g_assert_cmpstr(reason, ==, other_reason);
		g_array_unref(kit_read_new(bytes, at, &kit_whole, &reason));
	}
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
	g_test_add_func("/stream-damage/beginning", test_beginning_damage);
	g_test_add_func("/stream-damage/footer", test_footer_damage);
	g_test_add_func("/stream-damage/ended", test_ended);
	g_test_add_func("/stream-damage/flush", test_flush);
	g_test_add_func("/stream-damage/mangled-capture", test_mangled_capture);
	add_table("/stream-damage/ram/", damages, G_N_ELEMENTS(damages), test_damage);
	add_table("/stream-damage/element/", elements, G_N_ELEMENTS(elements), test_element);
	return g_test_run();
}
