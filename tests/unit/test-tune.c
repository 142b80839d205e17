/* SPDX-License-Identifier: Apache-2.0 */
/* What the VM may be put through can be made less, never more. The cap on the wire goes both ways. */
#include "conductor/core/limits.h"

#include "base/error.h"
#include "base/json.h"

#include <string.h>

static const struct move_limits some = { .bandwidth = 1 << 20,
					 .ceiling_ms = 300,
					 .hand_over_ms = 50,
					 .link_timeout_ms = 60000,
					 .postcopy = true };

/* What TEXT asks for, applied to LIMITS. */
static bool tune(struct move_limits *limits, const char *text, int code)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(JsonObject) message = json_parse_object(text, strlen(text), &error);
	struct limits_wish wish;
	g_assert_no_error(error);
	bool good = limits_parse(message, &wish, &error) && limits_apply(limits, &wish, &error);
	if (good)
		g_assert_no_error(error);
	else
		g_assert_error(error, WATARI_ERROR, code);
	return good;
}

static void test_tighter(void)
{
	struct move_limits limits = some;
	g_assert_true(tune(&limits, "{\"bandwidth\":65536}", 0));
	g_assert_cmpuint(limits.bandwidth, ==, 65536);
	g_assert_true(tune(&limits, "{\"max_downtime_ms\":200,\"link_timeout_ms\":5000}", 0));
	g_assert_cmpint(limits.ceiling_ms, ==, 200);
	g_assert_cmpint(limits.link_timeout_ms, ==, 5000);
	g_assert_true(limits.postcopy);
	g_assert_true(tune(&limits, "{\"no_postcopy\":true}", 0));
	g_assert_false(limits.postcopy);
	limits.bandwidth = 0;
	g_assert_true(tune(&limits, "{\"bandwidth\":1048576000}", 0));
}

static void test_faster(void)
{
	struct move_limits limits = some;
	g_assert_true(tune(&limits, "{\"bandwidth\":2097152}", 0));
	g_assert_cmpuint(limits.bandwidth, ==, 2097152);
}

static void test_never_looser(void)
{
	static const char *const texts[] = {
		"{\"max_downtime_ms\":301}",
		"{\"link_timeout_ms\":60001}",
		/* one of two: then neither */
		"{\"bandwidth\":65536,\"max_downtime_ms\":301}",
	};
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
		struct move_limits limits = some;
		g_assert_false(tune(&limits, texts[i], WATARI_ERROR_REFUSED));
		g_assert_cmpmem(&limits, sizeof limits, &some, sizeof some);
	}
}

static void test_nonsense(void)
{
	static const char *const texts[] = {
		"{}",
		"{\"bandwidth\":0}",
		"{\"bandwidth\":-1}",
		"{\"bandwidth\":\"much\"}",
		"{\"bandwidth\":null}",
		"{\"max_downtime_ms\":0}",
		"{\"max_downtime_ms\":99999999999999999999}",
		"{\"link_timeout_ms\":[]}",
		"{\"no_postcopy\":false}",
	};
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
		struct move_limits limits = some;
		g_assert_false(tune(&limits, texts[i], WATARI_ERROR_USAGE));
		g_assert_cmpmem(&limits, sizeof limits, &some, sizeof some);
	}
}

static void test_there_and_back(void)
{
	const struct limits_wish wish = { .has_bandwidth = true,
					  .has_ceiling = true,
					  .no_postcopy = true,
					  .bandwidth = 70000,
					  .ceiling_ms = 20 };
	struct limits_wish read;
	g_autoptr(JsonObject) message = limits_describe_wish(&wish);
	g_assert_true(limits_parse(message, &read, NULL));
	g_assert_cmpmem(&read, sizeof read, &wish, sizeof wish);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/tune/tighter", test_tighter);
	g_test_add_func("/tune/faster", test_faster);
	g_test_add_func("/tune/never-looser", test_never_looser);
	g_test_add_func("/tune/nonsense", test_nonsense);
	g_test_add_func("/tune/there-and-back", test_there_and_back);
	return g_test_run();
}
