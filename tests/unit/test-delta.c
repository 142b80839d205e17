/* SPDX-License-Identifier: Apache-2.0 */
/* Deltas of pages: whatever changed comes back, whatever is damaged is refused, and nothing outside
 * the buffers is touched (they are allocated to the byte: see it under a sanitizer). */
#include "content/delta.h"

#include <glib.h>
#include <string.h>

static const size_t sizes[] = { 64, 1024, 4096, 16384, 65536 };

static uint8_t *random_page(GRand *rand, size_t bytes)
{
	uint8_t *page = g_malloc(bytes);
	for (size_t i = 0; i < bytes; i++)
		page[i] = (uint8_t) g_rand_int(rand);
	return page;
}

static void check_decode(const uint8_t *old, const uint8_t *new, size_t bytes, const uint8_t *delta,
			 size_t length)
{
	g_autofree uint8_t *in = g_memdup2(delta, length);
	g_autofree uint8_t *apart = g_malloc(bytes), *in_place = g_memdup2(old, bytes);
	g_assert_true(delta_decode(old, in, length, apart, bytes));
	g_assert_cmpmem(apart, bytes, new, bytes);
	g_assert_true(delta_decode(in_place, in, length, in_place, bytes));
	g_assert_cmpmem(in_place, bytes, new, bytes);
	/* Cut short or with something behind it, it is no delta. */
	g_assert_false(delta_decode(old, in, length - 1, apart, bytes));
	g_autofree uint8_t *longer = g_malloc0(length + 1);
	memcpy(longer, in, length);
	g_assert_false(delta_decode(old, longer, length + 1, apart, bytes));
	g_assert_false(delta_decode(old, in, length, apart, bytes + DELTA_BLOCK));
}

/* Encodes with plenty of room, then with just enough and with too little; the size. */
static size_t check_pair(const uint8_t *old, const uint8_t *new, size_t bytes)
{
	size_t room = 2 * bytes + DELTA_SPARE;
	g_autofree uint8_t *out = g_malloc(room);
	size_t length = delta_encode(old, new, bytes, out, room);
	g_assert_cmpuint(length, >=, 1);
	g_assert_cmpuint(length, <=, bytes + DELTA_SPARE);
	check_decode(old, new, bytes, out, length);

	g_autofree uint8_t *tight = g_malloc(length + DELTA_SPARE);
	g_assert_cmpuint(delta_encode(old, new, bytes, tight, length + DELTA_SPARE), ==, length);
	g_assert_cmpmem(tight, length, out, length);
	for (size_t max = length; max-- > 0 && length - max < 64;) {
		g_autofree uint8_t *small = g_malloc(max);
		g_assert_cmpuint(delta_encode(old, new, bytes, small, max), ==, 0);
	}
	return length;
}

static void test_identical(void)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(1);
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
		g_autofree uint8_t *page = random_page(rand, sizes[i]);
		g_assert_cmpuint(check_pair(page, page, sizes[i]), <=, 3);
	}
}

static void test_all_different(void)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(2);
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
		g_autofree uint8_t *old = random_page(rand, sizes[i]);
		g_autofree uint8_t *new = g_memdup2(old, sizes[i]);
		for (size_t at = 0; at < sizes[i]; at++)
			new[at] ^= 0xff;
		/* One run over the whole page. */
		g_assert_cmpuint(check_pair(old, new, sizes[i]), <=, sizes[i] + 4);
	}
}

/* Changes of any length at any place and distance: each edge of blocks and gaps is met. */
static void test_sparse(void)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(3);
	for (int round = 0; round < 3000; round++) {
		size_t bytes = sizes[g_rand_int_range(rand, 0, round % 50 ? 3 : 5)];
		g_autofree uint8_t *old = random_page(rand, bytes);
		g_autofree uint8_t *new = g_memdup2(old, bytes);
		int gap_max = 1 << g_rand_int_range(rand, 1, 12);
		int run_max = 1 << g_rand_int_range(rand, 1, 9);
		size_t at = (size_t) g_rand_int_range(rand, 0, gap_max), changed = 0, runs = 0;
		while (at < bytes) {
			size_t n = (size_t) g_rand_int_range(rand, 1, run_max + 1);
			for (n = MIN(n, bytes - at); n > 0; n--, at++, changed++)
				new[at] ^= (uint8_t) g_rand_int_range(rand, 1, 256);
			at += (size_t) g_rand_int_range(rand, 1, gap_max + 1);
			runs++;
		}
		/* A gap that is closed costs at most 3 bytes and saves at least 2. */
		g_assert_cmpuint(check_pair(old, new, bytes), <=, changed + 7 * runs + 3);
	}
}

/* Gaps of 1 to 8 equal bytes at every place of a block. */
static void test_gaps(void)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(4);
	g_autofree uint8_t *old = random_page(rand, 256);
	for (size_t at = 1; at < 200; at++) {
		for (size_t gap = 1; gap <= 8; gap++) {
			g_autofree uint8_t *new = g_memdup2(old, 256);
			new[at] ^= 1;
			new[at + gap + 1] ^= 1;
			size_t length = check_pair(old, new, 256);
			/* Numbers take a second byte from 128 on: the range allows for it. */
			size_t least = gap < 4 ? 3 + gap + 2 : 5 + 2;
			g_assert_cmpuint(length, >=, least);
			g_assert_cmpuint(length, <=, least + 2);
		}
	}
}

static void test_shifted(void)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(5);
	for (size_t shift = 1; shift < 64; shift++) {
		g_autofree uint8_t *old = g_malloc(4096 + shift);
		for (size_t i = 0; i < 4096 + shift; i++)
			old[i] = (uint8_t) g_rand_int_range(rand, 0, 3);
		check_pair(old, old + shift, 4096);
	}
}

/* Damaged deltas: decoded to something or refused; when refused, nothing was written. */
static void test_damage(void)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(6);
	unsigned refused = 0;
	for (int round = 0; round < 20000; round++) {
		g_autofree uint8_t *old = random_page(rand, 1024);
		g_autofree uint8_t *new = g_memdup2(old, 1024);
		uint8_t out[2048], page[1024], before[1024];
		for (int i = 0; i < 40; i++)
			new[g_rand_int_range(rand, 0, 1024)] ^= 1;
		size_t length = delta_encode(old, new, 1024, out, sizeof(out));
		g_autofree uint8_t *in = g_memdup2(out, length);
		for (int i = g_rand_int_range(rand, 1, 4); i > 0; i--)
			in[g_rand_int_range(rand, 0, (gint32) length)] = (uint8_t) g_rand_int(rand);
		memset(page, round, sizeof(page));
		memset(before, round, sizeof(before));
		if (delta_decode(old, in, length, page, sizeof(page)))
			continue;
		refused++;
		g_assert_cmpmem(page, sizeof(page), before, sizeof(before));
	}
	g_assert_cmpuint(refused, >, 5000);
}

static void test_refused(void)
{
	const uint8_t empty_run[] = { 0x3f, 0x00, 0x01 };
	const uint8_t no_end[] = { 0x80, 0x80, 0x80, 0x00 };
	const uint8_t beyond[] = { 0x41 };
	const uint8_t long_zero[] = { 0x80, 0x00, 0x40, 0 };
	uint8_t old[64] = { 0 }, new[64];
	g_assert_false(delta_decode(old, empty_run, sizeof(empty_run), new, 64));
	g_assert_false(delta_decode(old, no_end, sizeof(no_end), new, 64));
	g_assert_false(delta_decode(old, beyond, sizeof(beyond), new, 64));
	g_assert_false(delta_decode(old, long_zero, sizeof(long_zero), new, 64));
	g_assert_false(delta_decode(old, old, 0, new, 64));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/delta/identical", test_identical);
	g_test_add_func("/delta/all-different", test_all_different);
	g_test_add_func("/delta/sparse", test_sparse);
	g_test_add_func("/delta/gaps", test_gaps);
	g_test_add_func("/delta/shifted", test_shifted);
	g_test_add_func("/delta/damage", test_damage);
	g_test_add_func("/delta/refused", test_refused);
	return g_test_run();
}
