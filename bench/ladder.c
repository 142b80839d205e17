/* SPDX-License-Identifier: Apache-2.0 */
/* What each effort of compression costs and brings on the pages of a recorded migration stream.
 *
 * Reads streams as QEMU writes them (files; .zst is not unpacked), takes the pages that are not
 * zero in the order in which they come, BATCH pages at a time, and compresses each batch with every
 * rung on one core, contexts reused. Times are this thread's processor time. The table in
 * docs/benchmarks.md and the first guesses of src/content/effort.c come from it.
 *
 * With --continue BITS each rung of zstd is one stream with a window of 2^BITS bytes that is flushed
 * after each batch, so that a batch finds what came before it; else every batch stands alone.
 *
 * usage: bench-ladder [--json] [--batch PAGES] [--every N] [--continue BITS] [--max-level N]
 *                     STREAM...
 */
#define ZSTD_STATIC_LINKING_ONLY
#include <fcntl.h>
#include <glib.h>
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <zstd.h>

#include "stream/reader.h"

#define BATCH_MAX 512
#define LZ4 (-1000) /* not a level of zstd */
#define STORE (-1001)

static gboolean as_json;
static int batch_pages = 64, every = 4, window_bits, max_level = 9;
static char **paths;

static const GOptionEntry options[] = {
	{ "json", 0, 0, G_OPTION_ARG_NONE, &as_json, "one JSON document", NULL },
	{ "batch", 0, 0, G_OPTION_ARG_INT, &batch_pages, "pages a batch (64)", "PAGES" },
	{ "every", 0, 0, G_OPTION_ARG_INT, &every, "only each Nth batch (4)", "N" },
	{ "continue", 0, 0, G_OPTION_ARG_INT, &window_bits, "one stream, such a window", "BITS" },
	{ "max-level", 0, 0, G_OPTION_ARG_INT, &max_level, "highest level of zstd (9)", "N" },
	{ G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &paths, NULL, "STREAM..." },
	{ NULL }
};

struct rung {
	int level;
	double pack_s, unpack_s;
	uint64_t packed_bytes;
	ZSTD_CCtx *cctx;
	ZSTD_DCtx *dctx;
};

static struct rung ladder_decisions[] = { { STORE }, { LZ4 }, { -10 }, { -5 }, { -3 },
					  { -1 },    { 1 },   { 2 },   { 3 },  { 4 },
					  { 5 },     { 6 },   { 7 },   { 8 },  { 9 },
					  { 10 },    { 12 },  { 15 },  { 19 } };

static uint8_t pages[BATCH_MAX * 4096], packed[BATCH_MAX * 4096 * 2], again[BATCH_MAX * 4096];
static uint64_t original_bytes;
static int pages_in_batch;
static uint64_t batches;

static double cpu_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static size_t pack(struct rung *rung, size_t length)
{
	if (rung->level == STORE) {
		memcpy(packed, pages, length);
		return length;
	}
	if (rung->level == LZ4)
		return (size_t) LZ4_compress_default((char *) pages, (char *) packed, (int) length,
						     sizeof(packed));
	if (!window_bits)
		return ZSTD_compress2(rung->cctx, packed, sizeof(packed), pages, length);
	ZSTD_inBuffer in = { pages, length, 0 };
	ZSTD_outBuffer out = { packed, sizeof(packed), 0 };
	while (ZSTD_compressStream2(rung->cctx, &out, &in, ZSTD_e_flush) != 0)
		;
	return out.pos;
}

static size_t unpack(const struct rung *rung, size_t length)
{
	if (rung->level == STORE) {
		memcpy(again, packed, length);
		return length;
	}
	if (rung->level == LZ4)
		return (size_t) LZ4_decompress_safe((char *) packed, (char *) again, (int) length,
						    sizeof(again));
	if (!window_bits)
		return ZSTD_decompressDCtx(rung->dctx, again, sizeof(again), packed, length);
	ZSTD_inBuffer in = { packed, length, 0 };
	ZSTD_outBuffer out = { again, sizeof(again), 0 };
	while (in.pos < in.size && !ZSTD_isError(ZSTD_decompressStream(rung->dctx, &out, &in)))
		;
	return out.pos;
}

static void measure_batch(void)
{
	size_t length = (size_t) pages_in_batch * 4096;
	original_bytes += length;
	for (size_t i = 0;
	     i < G_N_ELEMENTS(ladder_decisions) && ladder_decisions[i].level <= max_level; i++) {
		double start_s = cpu_s();
		size_t n = pack(&ladder_decisions[i], length);
		ladder_decisions[i].pack_s += cpu_s() - start_s;
		ladder_decisions[i].packed_bytes += n;
		start_s = cpu_s();
		size_t back = unpack(&ladder_decisions[i], n);
		ladder_decisions[i].unpack_s += cpu_s() - start_s;
		if (back != length || memcmp(pages, again, length) != 0) {
			fprintf(stderr, "bench-ladder: a batch did not come back\n");
			exit(1);
		}
	}
}

static void take_page(const uint8_t *page)
{
	memcpy(pages + (size_t) pages_in_batch * 4096, page, 4096);
	if (++pages_in_batch < batch_pages)
		return;
	if (batches++ % (uint64_t) every == 0)
		measure_batch();
	pages_in_batch = 0;
}

static void read_stream(const char *path)
{
	GError *error = NULL;
	g_autoptr(GMappedFile) file = g_mapped_file_new(path, FALSE, &error);
	if (!file) {
		fprintf(stderr, "bench-ladder: %s\n", error->message);
		exit(1);
	}
	struct stream_reader *reader = stream_reader_new();
	struct stream_record record;
	const uint8_t *at = (const uint8_t *) g_mapped_file_get_contents(file);
	size_t left = g_mapped_file_get_length(file);
	while (left > 0) {
		size_t n = MIN(left, 1 << 18);
		stream_reader_feed(reader, at, n);
		while (stream_reader_next(reader, &record))
			if (record.kind == STREAM_PAGE && stream_reader_page_size(reader) == 4096)
				take_page(record.page);
		at += n;
		left -= n;
	}
	stream_reader_free(reader);
}

static void name_rung(const struct rung *rung, char name[16])
{
	if (rung->level == STORE)
		strcpy(name, "store");
	else if (rung->level == LZ4)
		strcpy(name, "lz4");
	else
		snprintf(name, 16, "zstd %d", rung->level);
}

static void show(void)
{
	char name[16];
	double mb = (double) original_bytes / 1e6;
	printf(as_json ? "[\n" : "%-8s  %9s  %11s  %7s\n", "rung", "pack MB/s", "unpack MB/s",
	       "ratio");
	for (size_t i = 0;
	     i < G_N_ELEMENTS(ladder_decisions) && ladder_decisions[i].level <= max_level; i++) {
		const struct rung *rung = &ladder_decisions[i];
		double ratio = (double) original_bytes / (double) rung->packed_bytes;
		name_rung(rung, name);
		if (as_json)
			printf("%s  {\"rung\": \"%s\", \"pack_mbs\": %.0f, \"unpack_mbs\": %.0f, "
			       "\"ratio\": %.3f}",
			       i ? ",\n" : "", name, mb / rung->pack_s, mb / rung->unpack_s, ratio);
		else
			printf("%-8s  %9.0f  %11.0f  %7.3f\n", name, mb / rung->pack_s,
			       mb / rung->unpack_s, ratio);
	}
	printf(as_json ? "\n]\n" : "%.0f MiB of pages that are not zero\n", mb / 1.048576);
}

static void make_contexts(struct rung *rung)
{
	rung->dctx = ZSTD_createDCtx();
	ZSTD_DCtx_setParameter(rung->dctx, ZSTD_d_format, ZSTD_f_zstd1_magicless);
	rung->cctx = ZSTD_createCCtx();
	ZSTD_CCtx_setParameter(rung->cctx, ZSTD_c_format, ZSTD_f_zstd1_magicless);
	ZSTD_CCtx_setParameter(rung->cctx, ZSTD_c_contentSizeFlag, 0);
	if (rung->level > LZ4)
		ZSTD_CCtx_setParameter(rung->cctx, ZSTD_c_compressionLevel, rung->level);
	if (window_bits)
		ZSTD_CCtx_setParameter(rung->cctx, ZSTD_c_windowLog, window_bits);
}

static void free_contexts(struct rung *rung)
{
	ZSTD_freeDCtx(rung->dctx);
	ZSTD_freeCCtx(rung->cctx);
}

int main(int argc, char **argv)
{
	GError *error = NULL;
	GOptionContext *context = g_option_context_new(NULL);
	g_option_context_add_main_entries(context, options, NULL);
	if (!g_option_context_parse(context, &argc, &argv, &error)) {
		fprintf(stderr, "bench-ladder: %s\n", error->message);
		return 2;
	}
	g_option_context_free(context);
	if (!paths || batch_pages < 1 || batch_pages > BATCH_MAX || every < 1 ||
	    (window_bits && (window_bits < 10 || window_bits > 27))) {
		fprintf(stderr,
			"bench-ladder: name a stream; a batch has 1 to %d pages, a "
			"window 10 to 27 bits\n",
			BATCH_MAX);
		return 2;
	}
	for (size_t i = 0; i < G_N_ELEMENTS(ladder_decisions); i++)
		make_contexts(&ladder_decisions[i]);
	for (char **path = paths; *path; path++)
		read_stream(*path);
	show();
	for (size_t i = 0; i < G_N_ELEMENTS(ladder_decisions); i++)
		free_contexts(&ladder_decisions[i]);
	g_strfreev(paths);
	return 0;
}
