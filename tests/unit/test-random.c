/* SPDX-License-Identifier: Apache-2.0 */
/* Each is another one, of so many digits. */
#include "base/random.h"

#include <string.h>

static void test_digits(void)
{
	static const size_t lengths[] = { 2, 32, 64 };
	for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
		char one[RANDOM_HEX_MOST + 2], other[RANDOM_HEX_MOST + 2];
		memset(one, '!', sizeof one);
		g_assert_true(random_hex(one, lengths[i], NULL));
		g_assert_true(random_hex(other, lengths[i], NULL));
		g_assert_cmpuint(strlen(one), ==, lengths[i]);
		g_assert_cmpuint(strspn(one, "0123456789abcdef"), ==, lengths[i]);
		g_assert_cmpint(one[lengths[i] + 1], ==, '!');
		g_assert_true(lengths[i] < 32 || strcmp(one, other) != 0);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/random/digits", test_digits);
	return g_test_run();
}
