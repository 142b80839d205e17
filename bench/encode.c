/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine makes of a captured migration stream: sorted, written, packed, unpacked, resolved,
 * on one thread, without a link.
 *
 * usage: encode CAPTURE.stream [METHOD:LEVEL[:WINDOW_LOG]]...      (store lz4 zstd stream)
 *
 * For each effort: how the pages travelled, bytes, and MB/s of QEMU's stream for each stage (CPU time
 * of the thread). Both streams, QEMU's and the one written anew, are applied to a memory image of
 * their own: they must be equal at the end, or it says so and fails.
 */
#include "content/body.h"
#include "content/codec.h"
#include "content/resolver.h"
#include "content/sorter.h"

#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum stage { READ, SORT, WRITE, PACK, UNPACK, RESOLVE, STAGES };
static const char *const stage_names[STAGES] = { "read", "sort",   "write",
						 "pack", "unpack", "resolve" };

/* A guest's memory as a stream makes it. */
struct image {
	struct stream_reader *reader;
	uint8_t *blocks[STREAM_BLOCKS_MAX];
};

struct bench {
	struct sorter *sorter;
	struct resolver *resolver;
	struct packer *packer;
	struct unpacker *unpacker;
	struct stream_reader *reader;        /* the source's */
	struct stream_reader *second_reader; /* the destination's */
	struct tag_context *tags;
	struct image original, emitted, second;
	struct body *body;
	struct batch *batch, *arrived;
	struct codec_effort effort;
	uint8_t *packed, *out;
	double cpu[STAGES];
	uint64_t bytes;
};

static double cpu_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double) now.tv_sec + (double) now.tv_nsec * 1e-9;
}

static double lap(struct bench *bench, enum stage stage, double since)
{
	double now = cpu_now();
	bench->cpu[stage] += now - since;
	return now;
}

static void fail(const char *what)
{
	fprintf(stderr, "encode: %s\n", what);
	exit(1);
}

static void image_apply(struct image *image, const uint8_t *bytes, size_t length)
{
	struct stream_record record;
	stream_reader_feed(image->reader, bytes, length);
	while (stream_reader_next(image->reader, &record)) {
		if (record.kind != STREAM_PAGE && record.kind != STREAM_ZERO_PAGE)
			continue;
		uint8_t **block = &image->blocks[record.block];
		if (!*block)
			*block = g_malloc0(
				stream_reader_block(image->reader, record.block)->used_bytes);
		if (record.kind == STREAM_PAGE)
			memcpy(*block + record.offset, record.page, 4096);
		else
			memset(*block + record.offset, 0, 4096);
	}
}

static void images_compare(const struct bench *bench)
{
	const struct stream_block *block;
	for (uint32_t i = 0; (block = stream_reader_block(bench->original.reader, i)); i++) {
		const uint8_t *a = bench->original.blocks[i], *b = bench->emitted.blocks[i];
		if (!a != !b || (a && memcmp(a, b, block->used_bytes) != 0))
			fail("the memory differs");
	}
}

/* As the destination does it. */
static void take(struct bench *bench, enum codec_method method, size_t packed, size_t length)
{
	struct batch *batch = bench->arrived;
	enum resolver_answer answer;
	size_t out_length = length;
	const uint8_t *out = batch->raw;
	double at = cpu_now();
	batch_clear(batch);
	if (!unpacker_unpack(bench->unpacker, method, bench->packed, packed, batch->raw, length))
		fail("damaged");
	at = lap(bench, UNPACK, at);
	if (bench->batch->kind == BATCH_ITEMS) {
		if (!body_read(batch, batch->raw, length))
			fail("no body");
		batch_tag_literals(batch, bench->tags);
		answer = resolver_items(bench->resolver, batch, bench->emitted.reader,
					bench->batch->tag, bench->out, &out_length);
		out = bench->out;
	} else {
		batch->filled = length;
		batch_read(batch, bench->second_reader);
		if (batch->has_blocks)
			resolver_set_blocks(bench->resolver, bench->second_reader);
		answer = resolver_plain(bench->resolver, batch, bench->batch->tag);
	}
	lap(bench, RESOLVE, at);
	if (answer != RESOLVER_GOOD)
		fail(answer == RESOLVER_DAMAGED ? "names what is not there" : "wrong content");
	if (bench->batch->kind == BATCH_ITEMS)
		image_apply(&bench->second, out, out_length); /* keeps the reader in step */
	image_apply(&bench->emitted, out, out_length);
}

static void send(struct bench *bench)
{
	struct batch *batch = bench->batch;
	enum codec_method method;
	double at = cpu_now();
	if (batch->has_blocks)
		sorter_set_blocks(bench->sorter, bench->reader);
	sorter_sort(bench->sorter, batch, bench->effort.method == CODEC_STORE);
	at = lap(bench, SORT, at);
	body_write(bench->body, batch);
	at = lap(bench, WRITE, at);
	size_t packed =
		packer_pack(bench->packer, &bench->effort, bench->body->parts,
			    bench->body->part_count, bench->packed, BATCH_BODY_MAX + 4096, &method);
	lap(bench, PACK, at);
	bench->bytes += packed + 40; /* the link's head and tag */
	take(bench, method, packed, bench->body->length);
}

static void run(struct bench *bench, const uint8_t *bytes, size_t length)
{
	struct batch *batch = bench->batch;
	uint8_t *tail = g_malloc(STREAM_CARRY_MAX);
	for (size_t done = 0; done < length;) {
		size_t n = MIN(batch_room(batch), length - done);
		double at = cpu_now();
		memcpy(batch->raw + batch->filled, bytes + done, n);
		batch->filled += n;
		batch_read(batch, bench->reader);
		lap(bench, READ, at);
		image_apply(&bench->original, bytes + done, n);
		done += n;
		send(bench);
		size_t left = batch_take_tail(batch, tail);
		batch_clear(batch);
		batch_begin(batch, tail, left);
	}
	g_free(tail);
}

static void tell(const struct bench *bench, const char *name, size_t length)
{
	const struct sorter_counts *n = sorter_counts(bench->sorter);
	printf("%-14s %7.1f MiB of %.1f, 1/%.2f; pages: zero %" PRIu64 " same %" PRIu64
	       " reference %" PRIu64 " delta %" PRIu64 " (%.1f MiB) literal %" PRIu64
	       " plain %" PRIu64 "; refused %" PRIu64 "\n              MB/s:",
	       name, (double) bench->bytes / 1048576, (double) length / 1048576,
	       (double) length / (double) bench->bytes, n->zero_pages, n->same_pages,
	       n->reference_pages, n->delta_pages, (double) n->delta_bytes / 1048576,
	       n->literal_pages, n->plain_pages, n->refused_deltas);
	for (int i = 0; i < STAGES; i++)
		printf(" %s %.0f", stage_names[i], (double) length / bench->cpu[i] / 1e6);
	printf("\n");
}

static struct codec_effort parse_effort(const char *text)
{
	static const char *const names[] = { "store", "lz4", "zstd", "start", "stream" };
	struct codec_effort effort = { CODEC_STORE, 1, 25 };
	char method[16] = "";
	sscanf(text, "%15[a-z0-9]:%d:%d", method, &effort.level, &effort.window_log);
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		if (g_str_equal(names[i], method))
			effort.method = (enum codec_method) i;
	return effort;
}

static void images_free(struct image *image)
{
	for (uint32_t i = 0; i < STREAM_BLOCKS_MAX; i++)
		g_free(image->blocks[i]);
	stream_reader_free(image->reader);
}

static void bench_one(const char *name, const uint8_t *bytes, size_t length, uint64_t memory)
{
	static const uint8_t key[TAG_KEY_BYTES] = { 1, 2, 3 };
	struct bench *bench = g_new0(struct bench, 1);
	struct known_sizes sizes = known_sizes_for(memory);
	bench->effort = parse_effort(name);
	bench->sorter = sorter_new(key, key, &sizes);
	bench->resolver = resolver_new(key, key, &sizes);
	bench->packer = packer_new();
	bench->unpacker = unpacker_new(CODEC_WINDOW_LOG_MAX);
	bench->reader = stream_reader_new();
	bench->second_reader = stream_reader_new();
	bench->original.reader = stream_reader_new();
	bench->emitted.reader = stream_reader_new();
	bench->second.reader = bench->second_reader;
	bench->tags = tag_context_new(key, "page");
	bench->body = body_new();
	bench->batch = batch_new();
	bench->arrived = batch_new();
	bench->packed = g_malloc(BATCH_BODY_MAX + 4096);
	bench->out = g_malloc(BATCH_EMIT_MAX);
	run(bench, bytes, length);
	images_compare(bench);
	tell(bench, name, length);
	sorter_free(bench->sorter);
	resolver_free(bench->resolver);
	packer_free(bench->packer);
	unpacker_free(bench->unpacker);
	stream_reader_free(bench->reader);
	images_free(&bench->original);
	images_free(&bench->emitted);
	images_free(&bench->second);
	tag_context_free(bench->tags);
	body_free(bench->body);
	batch_free(bench->batch);
	batch_free(bench->arrived);
	g_free(bench->packed);
	g_free(bench->out);
	g_free(bench);
}

int main(int argc, char **argv)
{
	static const char *const usual[] = { "store",  "lz4",    "zstd:-1",
					     "zstd:1", "zstd:3", "stream:3:25" };
	if (argc < 2)
		fail("usage: encode CAPTURE.stream [METHOD:LEVEL[:WINDOW_LOG]]...");
	g_autoptr(GError) error = NULL;
	const char *limit = g_getenv("MEMORY_MIB");
	uint64_t memory = (limit ? strtoull(limit, NULL, 10) : 512) << 20;
	GMappedFile *file = g_mapped_file_new(argv[1], FALSE, &error);
	if (!file)
		fail(error->message);
	const uint8_t *bytes = (const uint8_t *) g_mapped_file_get_contents(file);
	size_t length = g_mapped_file_get_length(file);
	for (int i = 2; i < argc; i++)
		bench_one(argv[i], bytes, length, memory);
	for (size_t i = 0; argc == 2 && i < G_N_ELEMENTS(usual); i++)
		bench_one(usual[i], bytes, length, memory);
	g_mapped_file_unref(file);
	return 0;
}
