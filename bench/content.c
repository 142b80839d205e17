/* SPDX-License-Identifier: Apache-2.0 */
/* The encoders' stages, each alone on one core: how fast, and how much smaller?
 *
 * Deltas: pages that a generator changes (or --pairs FILE: old and new page in turns, 4096 bytes
 * each), through the delta alone and then through zstd -1 over 64 pages at once.
 *
 * Times are this thread's processor time.
 *
 * usage: bench-content [--json] [--rounds N] [--pairs FILE]
 */
#define ZSTD_STATIC_LINKING_ONLY
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zstd.h>

#include "content/delta.h"

#define PAGE 4096
#define BATCH 64
#define PAIRS 8192 /* 64 MiB: not in any cache */

static gboolean as_json;
static int rounds = 4;
static char *pairs_path;

static const GOptionEntry options[] = {
	{ "json", 0, 0, G_OPTION_ARG_NONE, &as_json, "one JSON document", NULL },
	{ "rounds", 0, 0, G_OPTION_ARG_INT, &rounds, "times over the pages (4)", "N" },
	{ "pairs", 0, 0, G_OPTION_ARG_FILENAME, &pairs_path, "old and new pages in turns", "FILE" },
	{ NULL }
};

struct pairs {
	uint8_t *bytes; /* old, new, old, new, ... */
	size_t count;
};

static double cpu_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/* What guests do to pages between two visits. */
static void change_counter(GRand *rand, uint8_t *page)
{
	uint64_t *words = (uint64_t *) (void *) page;
	words[g_rand_int_range(rand, 0, PAGE / 8)]++;
}

static void change_records(GRand *rand, uint8_t *page)
{
	for (int i = 0; i < 24; i++) {
		uint8_t *at = page + 64 * g_rand_int_range(rand, 0, PAGE / 64);
		at[0]++;
		for (int k = 0; k < 12; k++)
			at[20 + k] = (uint8_t) ('a' + g_rand_int_range(rand, 0, 26));
	}
}

static void change_nothing(GRand *rand, uint8_t *page)
{
}

static void change_all(GRand *rand, uint8_t *page)
{
	uint32_t *words = (uint32_t *) (void *) page;
	for (size_t i = 0; i < PAGE / 4; i++)
		words[i] = g_rand_int(rand);
}

static const struct {
	const char *name;
	void (*change)(GRand *rand, uint8_t *page);
} kinds[] = {
	{ "nothing changed", change_nothing },
	{ "one word a page", change_counter },
	{ "24 records a page", change_records },
	{ "everything changed", change_all },
};

static struct pairs make_pairs(void (*change)(GRand *rand, uint8_t *page))
{
	GRand *rand = g_rand_new_with_seed(7);
	struct pairs pairs = { g_malloc((size_t) PAIRS * 2 * PAGE), PAIRS };
	for (size_t i = 0; i < PAIRS; i++) {
		uint8_t *old = pairs.bytes + i * 2 * PAGE, *new = old + PAGE;
		for (size_t at = 0; at < PAGE; at += 4) {
			uint32_t word = g_rand_int(rand);
			memcpy(old + at, &word, 4);
		}
		memcpy(new, old, PAGE);
		change(rand, new);
	}
	g_rand_free(rand);
	return pairs;
}

struct result {
	double encode_s, decode_s, zstd_s;
	uint64_t original, delta, packed;
	uint64_t kept; /* pages of which the delta was not smaller */
};

static struct result run(const struct pairs *pairs)
{
	struct result result = { 0 };
	static uint8_t out[BATCH][PAGE], joined[BATCH * PAGE], packed[2 * BATCH * PAGE], page[PAGE];
	size_t lengths[BATCH];
	ZSTD_CCtx *zstd = ZSTD_createCCtx();
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_format, ZSTD_f_zstd1_magicless);
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_contentSizeFlag, 0);
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, -1);
	for (size_t first = 0; first + BATCH <= pairs->count; first += BATCH) {
		const uint8_t *old = pairs->bytes + first * 2 * PAGE;
		double start_s = cpu_s();
		for (size_t i = 0; i < BATCH; i++)
			lengths[i] = delta_encode(old + i * 2 * PAGE, old + (i * 2 + 1) * PAGE,
						  PAGE, out[i], PAGE);
		result.encode_s += cpu_s() - start_s;

		size_t length = 0;
		for (size_t i = 0; i < BATCH; i++) {
			size_t n = lengths[i] ? lengths[i] : PAGE;
			memcpy(joined + length, lengths[i] ? out[i] : old + (i * 2 + 1) * PAGE, n);
			length += n;
			result.kept += !lengths[i];
		}
		start_s = cpu_s();
		result.packed += ZSTD_compress2(zstd, packed, sizeof(packed), joined, length);
		result.zstd_s += cpu_s() - start_s;
		result.delta += length;
		result.original += BATCH * PAGE;

		start_s = cpu_s();
		for (size_t i = 0; i < BATCH; i++)
			if (lengths[i] &&
			    !delta_decode(old + i * 2 * PAGE, out[i], lengths[i], page, PAGE))
				exit(1);
		result.decode_s += cpu_s() - start_s;
	}
	ZSTD_freeCCtx(zstd);
	return result;
}

static void show(const char *name, const struct result *r, bool first)
{
	double gb = (double) r->original / 1e9;
	double ratio = (double) r->original / (double) r->delta;
	double packed = (double) r->original / (double) r->packed;
	if (as_json)
		printf("%s  {\"pages\": \"%s\", \"delta_gbs\": %.3f, \"undo_gbs\": %.3f, "
		       "\"with_zstd_gbs\": %.3f, \"delta_ratio\": %.2f, \"with_zstd_ratio\": %.2f}",
		       first ? "" : ",\n", name, gb / r->encode_s, gb / r->decode_s,
		       gb / (r->encode_s + r->zstd_s), ratio, packed);
	else
		printf("%-20s  %9.2f  %9.2f  %9.2f  %8.2f  %8.2f\n", name, gb / r->encode_s,
		       gb / r->decode_s, gb / (r->encode_s + r->zstd_s), ratio, packed);
}

/* The fastest of the rounds: others use this machine too. */
static void measure(const char *name, const struct pairs *pairs, bool first)
{
	struct result best = { .encode_s = 1e9, .decode_s = 1e9, .zstd_s = 1e9 };
	for (int i = 0; i < rounds; i++) {
		struct result result = run(pairs);
		result.encode_s = MIN(result.encode_s, best.encode_s);
		result.decode_s = MIN(result.decode_s, best.decode_s);
		result.zstd_s = MIN(result.zstd_s, best.zstd_s);
		best = result;
	}
	show(name, &best, first);
}

static void measure_file(void)
{
	char *bytes;
	size_t length;
	GError *error = NULL;
	if (!g_file_get_contents(pairs_path, &bytes, &length, &error)) {
		fprintf(stderr, "bench-content: %s\n", error->message);
		exit(1);
	}
	struct pairs pairs = { (uint8_t *) bytes, length / (2 * PAGE) };
	g_autofree char *name = g_path_get_basename(pairs_path);
	measure(name, &pairs, true);
	g_free(bytes);
}

static void measure_kinds(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
		struct pairs pairs = make_pairs(kinds[i].change);
		measure(kinds[i].name, &pairs, i == 0);
		g_free(pairs.bytes);
	}
}

int main(int argc, char **argv)
{
	GError *error = NULL;
	GOptionContext *context = g_option_context_new(NULL);
	g_option_context_add_main_entries(context, options, NULL);
	if (!g_option_context_parse(context, &argc, &argv, &error)) {
		fprintf(stderr, "bench-content: %s\n", error->message);
		return 2;
	}
	g_option_context_free(context);
	if (as_json)
		printf("[\n");
	else
		printf("deltas, 4 KiB pages     delta GB/s  undo GB/s  +zstd -1  ratio  +zstd "
		       "-1\n");
	(pairs_path ? measure_file : measure_kinds)();
	if (as_json)
		printf("\n]\n");
	return 0;
}
