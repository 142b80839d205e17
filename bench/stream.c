/* SPDX-License-Identifier: Apache-2.0 */
/* How fast the stream reader reads, one thread, fed 256 KiB at a time.
 *
 * usage: stream [CAPTURE.stream.zst ...]
 *
 * Made streams of pages and of zero pages, then the captures given. "in place" is the reader alone;
 * "through a buffer" copies each chunk into one buffer first, as a read from a socket would, so
 * that the bytes are touched. Time is the thread's CPU time: others on the machine do not count.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zstd.h>
#include "stream/reader.h"

#define CHUNK_BYTES (256 * 1024)
#define MADE_PAGES 65536 /* 256 MiB */
#define MEASURE_US 1000000

struct bytes {
	uint8_t *data;
	size_t length;
};

static int64_t cpu_now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void *must(void *pointer)
{
	if (!pointer) {
		perror("stream");
		exit(1);
	}
	return pointer;
}

static void append(struct bytes *out, const void *data, size_t length)
{
	memcpy(out->data + out->length, data, length);
	out->length += length;
}

static void append_word(struct bytes *out, uint64_t word)
{
	word = __builtin_bswap64(word);
	append(out, &word, sizeof(word));
}

/* A ram START with one block of MADE_PAGES pages and a PART with a record of each. */
static struct bytes make_stream(bool zero)
{
	static const uint8_t start[] = "QEVM\0\0\0\3\1\0\0\0\2\3ram\0\0\0\0\0\0\0\4";
	static const uint8_t part[] = "\x7e\0\0\0\2\2\0\0\0\2";
	uint8_t page[4096];
	struct bytes out = { must(malloc((size_t) MADE_PAGES * 4105 + 4096)), 0 };
	append(&out, start, sizeof(start) - 1);
	append_word(&out, (uint64_t) MADE_PAGES * 4096 | 4);
	append(&out, "\1m", 2);
	append_word(&out, (uint64_t) MADE_PAGES * 4096);
	append_word(&out, 0x10);
	append(&out, part, sizeof(part) - 1);
	for (uint64_t i = 0; i < MADE_PAGES; i++) {
		append_word(&out, i * 4096 | (zero ? 0x02 : 0x08) | (i ? 0x20 : 0));
		if (!i)
			append(&out, "\1m", 2);
		memset(page, (int) i, sizeof(page));
		append(&out, page, zero ? 1 : sizeof(page));
		if (zero)
			out.data[out.length - 1] = 0;
	}
	return out;
}

static uint64_t read_once(const struct bytes *stream, uint8_t *buffer)
{
	struct stream_reader *reader = stream_reader_new();
	struct stream_record record;
	uint64_t records = 0, seen = 0;
	for (size_t at = 0; at < stream->length; at += CHUNK_BYTES) {
		const uint8_t *chunk = stream->data + at;
		size_t length = stream->length - at;
		if (length > CHUNK_BYTES)
			length = CHUNK_BYTES;
		if (buffer)
			chunk = memcpy(buffer, chunk, length);
		stream_reader_feed(reader, chunk, length);
		while (stream_reader_next(reader, &record)) {
			records++;
			seen += record.length;
		}
	}
	if (stream_reader_opaque_reason(reader) || seen != stream->length) {
		fprintf(stderr, "stream: not read whole: %s\n",
			stream_reader_opaque_reason(reader));
		exit(1);
	}
	stream_reader_free(reader);
	return records;
}

static void measure(const char *name, const char *how, const struct bytes *stream, uint8_t *buffer)
{
	uint64_t records = 0, bytes = 0;
	int64_t begin = cpu_now_us(), spent;
	do {
		records += read_once(stream, buffer);
		bytes += stream->length;
		spent = cpu_now_us() - begin;
	} while (spent < MEASURE_US);
	printf("%-28s %-16s %8.1f GB/s %8.1f M records/s\n", name, how,
	       (double) bytes / (double) spent / 1000, (double) records / (double) spent);
}

static void measure_both(const char *name, struct bytes stream)
{
	uint8_t *buffer = must(malloc(CHUNK_BYTES));
	measure(name, "in place", &stream, NULL);
	measure(name, "through a buffer", &stream, buffer);
	free(buffer);
	free(stream.data);
}

static struct bytes load(const char *path)
{
	FILE *file = must(fopen(path, "rb"));
	static uint8_t packed[1 << 20];
	size_t length = fread(packed, 1, sizeof(packed), file);
	fclose(file);
	struct bytes out = { must(malloc(64 << 20)), 0 };
	ZSTD_DCtx *zstd = must(ZSTD_createDCtx());
	ZSTD_inBuffer in = { packed, length, 0 };
	ZSTD_outBuffer to = { out.data, 64 << 20, 0 };
	if (ZSTD_decompressStream(zstd, &to, &in) != 0) {
		fprintf(stderr, "stream: %s: not a whole zstd file of at most 64 MiB\n", path);
		exit(1);
	}
	ZSTD_freeDCtx(zstd);
	out.length = to.pos;
	return out;
}

int main(int argc, char **argv)
{
	measure_both("made, pages", make_stream(false));
	measure_both("made, zero pages", make_stream(true));
	for (int i = 1; i < argc; i++) {
		const char *base = strrchr(argv[i], '/');
		measure_both(base ? base + 1 : argv[i], load(argv[i]));
	}
	return 0;
}
