/* SPDX-License-Identifier: Apache-2.0 */
/* See stream-kit.h. */
#include <string.h>
#include <zstd.h>
#include "stream-kit.h"

static size_t chunk_length(const struct chunking *chunking, uint32_t *state)
{
	if (chunking->fixed)
		return chunking->fixed;
	*state = *state * 1664525U + 1013904223U;
	return 1 + (*state >> 8) % chunking->limit;
}

static void record_add(GArray *records, const struct stream_record *record, uint64_t at)
{
	if (!record->first) {
		g_assert_cmpuint(records->len, >, 0);
		struct whole_record *last =
			&g_array_index(records, struct whole_record, records->len - 1);
		g_assert_cmpint(last->kind, ==, record->kind);
		last->length += record->length;
		return;
	}
	struct whole_record whole = { record->kind, record->value, record->block, record->offset,
				      at,           record->length };
	g_array_append_val(records, whole);
}

static void record_check(struct stream_reader *reader, const struct stream_record *record,
			 const uint8_t *expected, uint64_t left)
{
	g_assert_cmpuint(record->length, >, 0);
	g_assert_cmpuint(record->length, <=, left);
	g_assert_true(!memcmp(record->bytes, expected, record->length));
	g_assert_true(!record->page == (record->kind != STREAM_PAGE));
	if (record->page)
		g_assert_true(record->page + stream_reader_page_size(reader) ==
			      record->bytes + record->length);
}

GArray *kit_read(struct stream_reader *reader, const uint8_t *data, size_t length,
		 const struct chunking *chunking)
{
	GArray *records = g_array_new(FALSE, FALSE, sizeof(struct whole_record));
	uint32_t state = chunking->seed;
	uint64_t done = 0;
	struct stream_record record;
	const uint8_t *rest;

	for (size_t at = 0; at < length;) {
		size_t chunk = chunk_length(chunking, &state);
		chunk = MIN(chunk, length - at);
		/* a buffer of its own, so that ASan sees a step past the chunk; too slow for crumbs
		 */
		g_autofree uint8_t *copy = chunk < 64 ? NULL : g_memdup2(data + at, chunk);
		stream_reader_feed(reader, copy ? copy : data + at, chunk);
		at += chunk;
		while (stream_reader_next(reader, &record)) {
			record_check(reader, &record, data + done, length - done);
			record_add(records, &record, done);
			done += record.length;
		}
		g_assert_cmpuint(at - done, <, STREAM_CARRY_MAX);
	}
	size_t left = stream_reader_flush(reader, &rest);
	g_assert_cmpuint(done + left, ==, length);
	g_assert_true(!left || !memcmp(rest, data + done, left));
	if (left) {
		struct stream_record end = { .kind = STREAM_OPAQUE, .length = left, .first = true };
		record_add(records, &end, done);
	}
	g_assert_cmpuint(stream_reader_stats(reader)->bytes, ==, length);
	return records;
}

void kit_assert_same(GArray *one, GArray *other)
{
	for (guint i = 0; i < MIN(one->len, other->len); i++) {
		struct whole_record *a = &g_array_index(one, struct whole_record, i);
		struct whole_record *b = &g_array_index(other, struct whole_record, i);
		g_assert_cmpstr(stream_kind_name(a->kind), ==, stream_kind_name(b->kind));
		g_assert_cmpuint(a->at, ==, b->at);
		g_assert_cmpuint(a->length, ==, b->length);
		g_assert_cmpuint(a->value, ==, b->value);
		g_assert_cmpuint(a->block, ==, b->block);
		g_assert_cmpuint(a->offset, ==, b->offset);
	}
	g_assert_cmpuint(one->len, ==, other->len);
}

uint64_t kit_count(GArray *records, enum stream_kind kind)
{
	uint64_t count = 0;
	for (guint i = 0; i < records->len; i++)
		count += g_array_index(records, struct whole_record, i).kind == kind;
	return count;
}

uint64_t kit_find(GArray *records, enum stream_kind kind)
{
	for (guint i = 0; i < records->len; i++)
		if (g_array_index(records, struct whole_record, i).kind == kind)
			return g_array_index(records, struct whole_record, i).at;
	return UINT64_MAX;
}

static char *capture_path(const char *name, const char *suffix)
{
	g_autofree char *file = g_strconcat(name, suffix, NULL);
	return g_test_build_filename(G_TEST_DIST, "..", "stream", file, NULL);
}

static int compare_names(gconstpointer one, gconstpointer other)
{
	return strcmp(*(char *const *) one, *(char *const *) other);
}

GPtrArray *kit_captures(void)
{
	GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
	g_autofree char *directory = capture_path("", "");
	g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
	const char *file;
	g_assert_nonnull(dir);
	while ((file = g_dir_read_name(dir)))
		if (g_str_has_suffix(file, ".ini"))
			g_ptr_array_add(names, g_strndup(file, strlen(file) - 4));
	g_ptr_array_sort(names, compare_names);
	return names;
}

static GBytes *file_read(const char *name, const char *suffix)
{
	g_autofree char *path = capture_path(name, suffix);
	char *text;
	gsize length;
	g_autoptr(GError) error = NULL;
	g_file_get_contents(path, &text, &length, &error);
	g_assert_no_error(error);
	return g_bytes_new_take(text, length);
}

GBytes *kit_capture_stream(const char *name)
{
	g_autoptr(GBytes) packed = file_read(name, ".stream.zst");
	gsize length;
	const void *data = g_bytes_get_data(packed, &length);
	GByteArray *stream = g_byte_array_new();
	ZSTD_DStream *zstd = ZSTD_createDStream();
	ZSTD_inBuffer in = { data, length, 0 };
	uint8_t buffer[65536];
	while (in.pos < in.size) {
		ZSTD_outBuffer out = { buffer, sizeof(buffer), 0 };
		g_assert_false(ZSTD_isError(ZSTD_decompressStream(zstd, &out, &in)));
		g_byte_array_append(stream, buffer, (guint) out.pos);
		while (out.pos == out.size) {
			out.pos = 0;
			ZSTD_decompressStream(zstd, &out, &in);
			g_byte_array_append(stream, buffer, (guint) out.pos);
		}
	}
	ZSTD_freeDStream(zstd);
	return g_byte_array_free_to_bytes(stream);
}

GBytes *kit_capture_return(const char *name)
{
	return file_read(name, ".return");
}

GKeyFile *kit_capture_facts(const char *name)
{
	g_autofree char *path = capture_path(name, ".ini");
	GKeyFile *facts = g_key_file_new();
	g_assert_true(g_key_file_load_from_file(facts, path, G_KEY_FILE_NONE, NULL));
	return facts;
}

void put_u8(GByteArray *out, uint8_t value)
{
	g_byte_array_append(out, &value, 1);
}

void put_u16(GByteArray *out, uint16_t value)
{
	put_u8(out, (uint8_t) (value >> 8));
	put_u8(out, (uint8_t) value);
}

void put_u32(GByteArray *out, uint32_t value)
{
	put_u16(out, (uint16_t) (value >> 16));
	put_u16(out, (uint16_t) value);
}

void put_u64(GByteArray *out, uint64_t value)
{
	put_u32(out, (uint32_t) (value >> 32));
	put_u32(out, (uint32_t) value);
}

void put_name(GByteArray *out, const char *name)
{
	put_u8(out, (uint8_t) strlen(name));
	g_byte_array_append(out, (const uint8_t *) name, (guint) strlen(name));
}

void put_fill(GByteArray *out, uint8_t byte, size_t count)
{
	guint old = out->len;
	g_byte_array_set_size(out, old + (guint) count);
	memset(out->data + old, byte, count);
}

void put_header(GByteArray *out, const char *machine)
{
	put_u32(out, 0x5145564d);
	put_u32(out, 3);
	if (!machine)
		return;
	put_u8(out, 7);
	put_u32(out, (uint32_t) strlen(machine));
	g_byte_array_append(out, (const uint8_t *) machine, (guint) strlen(machine));
}

void put_command(GByteArray *out, uint16_t number, const void *data, uint16_t length)
{
	put_u8(out, 8);
	put_u16(out, number);
	put_u16(out, length);
	if (length)
		g_byte_array_append(out, data, length);
}

void put_section(GByteArray *out, uint8_t element, uint32_t id, const char *name, uint32_t version)
{
	put_u8(out, element);
	put_u32(out, id);
	put_name(out, name);
	put_u32(out, 0);
	put_u32(out, version);
}

void put_part(GByteArray *out, uint8_t element, uint32_t id)
{
	put_u8(out, element);
	put_u32(out, id);
}

void put_footer(GByteArray *out, uint32_t id)
{
	put_u8(out, 0x7e);
	put_u32(out, id);
}

void put_beginning(GByteArray *out)
{
	put_header(out, "pc-test");
	put_section(out, 1, 2, "ram", 4);
	put_u64(out, 12 * 4096 | 4);
	put_name(out, "a");
	put_u64(out, 8 * 4096);
	put_name(out, "b");
	put_u64(out, 4 * 4096);
	put_u64(out, 0x10);
	put_footer(out, 2);
}

static void put_page_word(GByteArray *out, const char *block, uint64_t word)
{
	put_u64(out, word | (block ? 0 : 0x20));
	if (block)
		put_name(out, block);
}

void put_page(GByteArray *out, const char *block, uint64_t offset, uint8_t fill)
{
	put_page_word(out, block, offset | 0x08);
	put_fill(out, fill, 4096);
}

void put_zero_page(GByteArray *out, const char *block, uint64_t offset)
{
	put_page_word(out, block, offset | 0x02);
	put_u8(out, 0);
}

GByteArray *kit_beginning(void)
{
	GByteArray *out = g_byte_array_new();
	put_beginning(out);
	return out;
}

void put_ram_end(GByteArray *out)
{
	put_u64(out, 0x10);
	put_footer(out, 2);
}

void put_hex(GByteArray *out, const char *hex)
{
	for (; *hex; hex += 2)
		put_u8(out, (uint8_t) (g_ascii_xdigit_value(hex[0]) << 4 |
				       g_ascii_xdigit_value(hex[1])));
}

const struct chunking kit_whole = { .name = "kit_whole", .fixed = SIZE_MAX };
static const struct chunking check_chunkings[] = {
	{ .name = "1 byte", .fixed = 1 },
	{ .name = "13 bytes", .fixed = 13 },
	{ .name = "random up to 300", .limit = 300, .seed = 7 },
};

GArray *kit_read_new(const uint8_t *data, size_t length, const struct chunking *chunking,
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
	g_autoptr(GArray) part = kit_read_new(stream->data, at, &kit_whole, &reason);
	for (guint i = 0; i < part->len; i++) {
		struct whole_record *cut = &g_array_index(part, struct whole_record, i);
		struct whole_record *full = &g_array_index(records, struct whole_record, i);
		if (cut->kind == STREAM_OPAQUE)
			break; /* the unfinished record */
		g_assert_cmpint(cut->kind, ==, full->kind);
		g_assert_cmpuint(cut->at, ==, full->at);
	}
}

GArray *kit_check(GByteArray *stream, uint64_t opaque_at, const char *reason_part)
{
	const char *reason;
	GArray *records = kit_read_new(stream->data, stream->len, &kit_whole, &reason);
	if (!reason_part) {
		g_assert_cmpstr(reason, ==, NULL);
		g_assert_cmpuint(kit_count(records, STREAM_OPAQUE), ==, 0);
	} else {
		g_assert_nonnull(reason);
		if (!strstr(reason, reason_part))
			g_error("reason \"%s\", not \"%s\"", reason, reason_part);
		g_assert_cmpuint(kit_find(records, STREAM_OPAQUE), ==, opaque_at);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(check_chunkings); i++) {
		g_autoptr(GArray) others =
			kit_read_new(stream->data, stream->len, &check_chunkings[i], &reason);
		kit_assert_same(records, others);
	}
	for (size_t at = 0; at < stream->len; at++)
		check_prefix(stream, at, records);
	g_byte_array_unref(stream);
	return records;
}

void kit_check_opaque(GByteArray *stream, uint64_t at, const char *reason_part)
{
	g_array_unref(kit_check(stream, at, reason_part));
}
