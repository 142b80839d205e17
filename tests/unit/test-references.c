/* SPDX-License-Identifier: Apache-2.0 */
/* What was found on images becomes what will travel of them. */
#include "conductor/measure/references.h"

#include "conductor/measure/prediction.h"
#include "conductor/core/move.h"

/* A disk of 100 different blocks of its own, 300 of its base's 500, and 50 that it holds twice. */
static const char at_source[] =
	"[{\"path\":\"/"
	"disk\",\"known\":30,\"bytes\":1843200,\"size\":9,\"kept\":false,\"whole\":true,"
	"\"content\":{\"blocks\":100,\"batch\":{\"share\":0.5,\"speed\":4e8},"
	"\"stream\":{\"share\":0.4,\"speed\":1e8}}},"
	"{\"path\":\"/base.raw\",\"known\":10,\"bytes\":2048000,\"size\":4096000,\"kept\":true,"
	"\"content\":{\"blocks\":300,\"batch\":{\"share\":0.3,\"speed\":4e8}}}]";

static JsonArray *parse(const char *text)
{
	g_autoptr(JsonParser) parser = json_parser_new();
	g_assert_true(json_parser_load_from_data(parser, text, -1, NULL));
	return json_array_ref(json_node_get_array(json_parser_get_root(parser)));
}

/* A disk of that kind, of a sample of 100 pages with content; what the destination says of the base. */
static struct plan_facts take(enum move_disk_kind kind, char *backing, const char *there)
{
	char path[] = "/disk", base[] = "/base.raw", raw[] = "raw";
	char *bases[] = { base, NULL }, *formats[] = { raw, NULL };
	struct disk facts = { .path = path, .backing = bases, .backing_formats = formats };
	struct move_disk disk = {
		.disk = &facts, .kind = kind, .proven = true, .backing = backing
	};
	g_autoptr(GPtrArray) disks = g_ptr_array_new();
	struct move_report report = { .disks = disks };
	struct prediction prediction = { .facts = { .data = 0.5, .sample_pages = 200 } };
	struct move move = { .report = &report, .prediction = &prediction };
	g_ptr_array_add(disks, &disk);
	prediction.images[MOVE_SOURCE] = parse(at_source);
	prediction.images[MOVE_DESTINATION] = parse(there);
	references_take(&move);
	for (int side = 0; side < FACTS_HOSTS; side++)
		json_array_unref(prediction.images[side]);
	return prediction.facts;
}

enum { BLOCK = 4096 };

static void test_nothing_there(void)
{
	struct plan_facts facts = take(MOVE_DISK_COPIED, NULL, "[]");
	g_assert_cmpfloat_with_epsilon(facts.on_copied, 0.4, 1e-9);
	g_assert_cmpfloat(facts.disk_own, ==, 400 * BLOCK);
	g_assert_cmpfloat(facts.disk_named, ==, 50 * BLOCK);
	g_assert_cmpfloat_with_epsilon(facts.disk_batch.share, (0.5 * 100 + 0.3 * 300) / 400, 1e-9);
	g_assert_cmpfloat_with_epsilon(facts.disk_stream.share, 0.4, 1e-9);
}

/* The base is there: known, to be looked through, or another one of that name. */
static void test_base_there(void)
{
	struct plan_facts facts = take(MOVE_DISK_COPIED, NULL,
				       "[{\"path\":\"/base.raw\",\"size\":4096000,\"kept\":true}]");
	g_assert_cmpfloat(facts.disk_own, ==, 100 * BLOCK);
	g_assert_cmpfloat(facts.disk_named, ==, 350 * BLOCK);
	g_assert_cmpfloat_with_epsilon(facts.disk_batch.share, 0.5, 1e-9);
	facts = take(MOVE_DISK_COPIED, NULL,
		     "[{\"path\":\"/base.raw\",\"size\":4096000,\"kept\":false}]");
	g_assert_cmpfloat(facts.disk_found, ==, 300 * BLOCK);
	g_assert_cmpfloat(facts.disk_look_s, >, 0);
	facts = take(MOVE_DISK_COPIED, NULL,
		     "[{\"path\":\"/base.raw\",\"size\":4096001,\"kept\":true}]");
	g_assert_cmpfloat(facts.disk_own, ==, 400 * BLOCK);
}

/* What stays below the disk does not travel at all. */
static void test_base_kept(void)
{
	char path[] = "/base.raw";
	struct plan_facts facts = take(MOVE_DISK_COPIED, path, "[]");
	g_assert_cmpfloat(facts.disk_own, ==, 100 * BLOCK);
	g_assert_cmpfloat(facts.disk_named, ==, 0);
}

static void test_shared(void)
{
	struct plan_facts facts =
		take(MOVE_DISK_SHARED, NULL, "[{\"path\":\"/disk\",\"kept\":true}]");
	g_assert_cmpfloat_with_epsilon(facts.on_indexed, 0.4, 1e-9);
	g_assert_cmpfloat(facts.disk_own, ==, 0);
	facts = take(MOVE_DISK_SHARED, NULL, "[{\"path\":\"/disk\",\"kept\":false}]");
	g_assert_cmpfloat_with_epsilon(facts.on_new, 0.4, 1e-9);
	g_assert_cmpfloat(facts.look_through_s, >, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/references/nothing-there", test_nothing_there);
	g_test_add_func("/references/base-there", test_base_there);
	g_test_add_func("/references/base-kept", test_base_kept);
	g_test_add_func("/references/shared", test_shared);
	return g_test_run();
}
