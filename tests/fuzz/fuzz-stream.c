/* SPDX-License-Identifier: Apache-2.0 */
/* The stream reader on hostile input. The first four bytes seed the chunk lengths, the rest is the
 * stream. Whatever it is: the records' bytes are the stream's bytes, they do not depend on the
 * chunks, and what is carried stays below its bound.
 */
#include <stdlib.h>
#include <string.h>
#include "stream/reader.h"

struct outcome {
	uint64_t digest; /* of all records, fragments put together */
	struct stream_stats stats;
	const char *reason;
};

static void demand(int truth)
{
	if (!truth)
		abort();
}

static size_t next_chunk(uint32_t *seed)
{
	*seed = *seed * 1664525U + 1013904223U;
	size_t limit = (size_t) 1 << ((*seed >> 28) + 1); /* 2 to 64 Ki */
	return 1 + (*seed >> 8) % limit;
}

static void mix(uint64_t *digest, uint64_t value)
{
	*digest = (*digest ^ value) * 0x9e3779b97f4a7c15ULL;
	*digest ^= *digest >> 29;
}

static void check_record(const struct stream_reader *reader, const struct stream_record *record)
{
	demand(record->length > 0);
	demand((unsigned) record->kind < STREAM_KIND_LAST);
	demand(!record->page == (record->kind != STREAM_PAGE));
	if (record->page)
		demand(record->page + stream_reader_page_size(reader) ==
		       record->bytes + record->length);
	switch (record->kind) {
	case STREAM_PAGE:
	case STREAM_ZERO_PAGE:
	case STREAM_XBZRLE_PAGE:
	case STREAM_COMPRESSED_PAGE:
		demand(record->offset < stream_reader_block(reader, record->block)->used_bytes);
		break;
	default:
		break;
	}
}

/* Records up to the end of what was fed; the new place in the stream. */
static size_t take(struct stream_reader *reader, const uint8_t *data, size_t done, size_t fed,
		   uint64_t *digest)
{
	struct stream_record record;
	while (stream_reader_next(reader, &record)) {
		check_record(reader, &record);
		demand(record.length <= fed - done);
		demand(!memcmp(record.bytes, data + done, record.length));
		if (record.first) {
			mix(digest, record.kind);
			mix(digest, done);
			mix(digest, record.value ^ (uint64_t) record.block << 32);
			mix(digest, record.offset);
		}
		done += record.length;
	}
	demand(fed - done < STREAM_CARRY_MAX);
	return done;
}

static struct outcome read_stream(const uint8_t *data, size_t length, uint32_t seed)
{
	struct outcome outcome = { 0 };
	struct stream_reader *reader = stream_reader_new();
	const uint8_t *rest;
	size_t done = 0;
	for (size_t at = 0; at < length;) {
		size_t chunk = seed ? next_chunk(&seed) : length;
		if (chunk > length - at)
			chunk = length - at;
		uint8_t *copy = malloc(chunk); /* so that a step past the end is seen */
		memcpy(copy, data + at, chunk);
		stream_reader_feed(reader, copy, chunk);
		at += chunk;
		done = take(reader, data, done, at, &outcome.digest);
		free(copy);
	}
	size_t left = stream_reader_flush(reader, &rest);
	demand(done + left == length);
	demand(!left || !memcmp(rest, data + done, left));
	outcome.stats = *stream_reader_stats(reader);
	outcome.reason = stream_reader_opaque_reason(reader);
	stream_reader_free(reader);
	return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t seed;
	if (size < sizeof(seed))
		return 0;
	memcpy(&seed, data, sizeof(seed));
	data += sizeof(seed);
	size -= sizeof(seed);
	struct outcome whole = read_stream(data, size, 0);
	struct outcome cut = read_stream(data, size, seed | 1);
	demand(whole.digest == cut.digest);
	demand(whole.reason == cut.reason);
	demand(whole.stats.bytes == size);
	demand(!memcmp(&whole.stats, &cut.stats, sizeof(whole.stats)));
	return 0;
}
