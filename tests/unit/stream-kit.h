/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of src/stream share: captured streams, hand-made streams, and reading a stream in
 * any chunks while checking that no byte is lost.
 */
#pragma once
#include <glib.h>
#include <stdint.h>
#include "stream/reader.h"

/* A record with its fragments put together. */
struct whole_record {
	enum stream_kind kind;
	uint32_t value;
	uint32_t block;
	uint64_t offset;
	uint64_t at; /* where in the stream it begins */
	uint64_t length;
};

/* Lengths of chunks: the next one for the reader, from STATE. */
struct chunking {
	const char *name;
	size_t fixed; /* 0: random up to limit */
	size_t limit;
	uint32_t seed;
};

/* Read LENGTH bytes; every record's bytes are compared with the stream's. Returns an array of
 * struct whole_record. Unfinished bytes are flushed and count as opaque. READER is new. */
GArray *kit_read(struct stream_reader *reader, const uint8_t *data, size_t length,
		 const struct chunking *chunking);
void kit_assert_same(GArray *one, GArray *other);
/* How many records of KIND. */
uint64_t kit_count(GArray *records, enum stream_kind kind);
/* Where the first record of KIND begins; UINT64_MAX: none. */
uint64_t kit_find(GArray *records, enum stream_kind kind);

/* Names of the captures without their suffixes, sorted. */
GPtrArray *kit_captures(void);
GBytes *kit_capture_stream(const char *name);
GBytes *kit_capture_return(const char *name);
GKeyFile *kit_capture_facts(const char *name);

/* Hand-made streams: append big-endian numbers, strings, records. */
void put_u8(GByteArray *out, uint8_t value);
void put_u16(GByteArray *out, uint16_t value);
void put_u32(GByteArray *out, uint32_t value);
void put_u64(GByteArray *out, uint64_t value);
void put_name(GByteArray *out, const char *name);
void put_fill(GByteArray *out, uint8_t byte, size_t count);
void put_header(GByteArray *out, const char *machine); /* NULL: no configuration */
void put_command(GByteArray *out, uint16_t number, const void *data, uint16_t length);
void put_section(GByteArray *out, uint8_t element, uint32_t id, const char *name, uint32_t version);
void put_part(GByteArray *out, uint8_t element, uint32_t id);
void put_footer(GByteArray *out, uint32_t id);
/* Header, and the START of ram (id 2) with blocks "a" (8 pages) and "b" (4 pages). */
void put_beginning(GByteArray *out);
/* A page of the block; NULL: CONTINUE. */
void put_page(GByteArray *out, const char *block, uint64_t offset, uint8_t fill);
void put_zero_page(GByteArray *out, const char *block, uint64_t offset);
void put_hex(GByteArray *out, const char *hex);
void put_ram_end(GByteArray *out); /* EOS and footer of id 2 */
/* A new stream with put_beginning(). */
GByteArray *kit_beginning(void);
/* Where something unexpected is going to be put. */
#define HERE(stream) ((uint64_t) (stream)->len)

extern const struct chunking kit_whole;
/* kit_read() with a reader of its own; *reason as it says at the end. */
GArray *kit_read_new(const uint8_t *data, size_t length, const struct chunking *chunking,
		     const char **reason);
/* Read it whole, in several chunkings and cut off at every offset. It goes opaque at OPAQUE_AT for
 * a reason with REASON_PART in it, or never where that is NULL. Frees the stream, returns the
 * records. */
GArray *kit_check(GByteArray *stream, uint64_t opaque_at, const char *reason_part);
void kit_check_opaque(GByteArray *stream, uint64_t at, const char *reason_part);
