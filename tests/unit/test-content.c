/* SPDX-License-Identifier: Apache-2.0 */
/* Keyed tags: any change of one bit, of the length, of the key or of the label shows. */
#include "content/tag.h"

#include <glib.h>
#include <string.h>

static const uint8_t key_a[TAG_KEY_BYTES] = { 1 }, key_b[TAG_KEY_BYTES] = { 2 };

static void test_every_bit_counts(void)
{
	struct tag_context *context = tag_context_new(key_a, "frame");
	uint8_t page[4096], tag[TAG_BYTES], other[TAG_BYTES];
	for (size_t i = 0; i < sizeof(page); i++)
		page[i] = (uint8_t) (i * 7);
	tag_compute(context, page, sizeof(page), tag);
	for (size_t bit = 0; bit < 8 * sizeof(page); bit += 37) {
		page[bit / 8] ^= (uint8_t) (1 << bit % 8);
		tag_compute(context, page, sizeof(page), other);
		g_assert_false(tag_equal(tag, other));
		page[bit / 8] ^= (uint8_t) (1 << bit % 8);
	}
	tag_compute(context, page, sizeof(page), other);
	g_assert_true(tag_equal(tag, other));
	tag_compute(context, page, sizeof(page) - 1, other);
	g_assert_false(tag_equal(tag, other));
	tag_context_free(context);
}

static void test_zeros_of_any_length_differ(void)
{
	struct tag_context *context = tag_context_new(key_a, "frame");
	uint8_t zeros[64] = { 0 }, tag[65][TAG_BYTES];
	for (size_t length = 0; length <= sizeof(zeros); length++) {
		tag_compute(context, zeros, length, tag[length]);
		for (size_t shorter = 0; shorter < length; shorter++)
			g_assert_false(tag_equal(tag[length], tag[shorter]));
	}
	tag_context_free(context);
}

static void test_key_and_label_count(void)
{
	struct tag_context *contexts[] = { tag_context_new(key_a, "frame"),
					   tag_context_new(key_b, "frame"),
					   tag_context_new(key_a, "memory") };
	uint8_t tags[3][TAG_BYTES];
	for (int i = 0; i < 3; i++) {
		tag_compute(contexts[i], "watari", 6, tags[i]);
		tag_context_free(contexts[i]);
	}
	g_assert_false(tag_equal(tags[0], tags[1]));
	g_assert_false(tag_equal(tags[0], tags[2]));
}

static void test_chain_knows_the_order(void)
{
	struct tag_context *context = tag_context_new(key_a, "frame");
	uint8_t one[TAG_BYTES], two[TAG_BYTES], ab[TAG_BYTES] = { 0 }, ba[TAG_BYTES] = { 0 };
	tag_compute(context, "1", 1, one);
	tag_compute(context, "2", 1, two);
	tag_fold(context, ab, one);
	tag_fold(context, ab, two);
	tag_fold(context, ba, two);
	tag_fold(context, ba, one);
	g_assert_false(tag_equal(ab, ba));
	tag_context_free(context);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/content/tag/every-bit-counts", test_every_bit_counts);
	g_test_add_func("/content/tag/zeros-of-any-length-differ", test_zeros_of_any_length_differ);
	g_test_add_func("/content/tag/key-and-label-count", test_key_and_label_count);
	g_test_add_func("/content/tag/chain-knows-the-order", test_chain_knows_the_order);
	return g_test_run();
}
