/* SPDX-License-Identifier: Apache-2.0 */
/* The list of what belongs to a VM, against its text for people. */
#include "host/belongings/belongings.h"

#include <string.h>

/* The rows "| `name` | fate | ..." of docs/travels.md, in order: "name fate". */
static GPtrArray *read_documented(void)
{
	g_autofree char *path =
		g_test_build_filename(G_TEST_DIST, "..", "..", "docs", "travels.md", NULL);
	g_autofree char *text = NULL;
	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	GPtrArray *rows = g_ptr_array_new_with_free_func(g_free);
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	for (int i = 0; lines[i]; i++) {
		g_auto(GStrv) cells = g_strsplit(lines[i], "|", -1);
		if (!g_str_has_prefix(lines[i], "| `"))
			continue;
		g_assert_cmpint(g_strv_length(cells), ==, 5);
		g_strdelimit(cells[1], "`", ' ');
		g_assert_cmpint(strlen(g_strstrip(cells[3])), >, 20);
		g_ptr_array_add(
			rows, g_strdup_printf("%s %s", g_strstrip(cells[1]), g_strstrip(cells[2])));
	}
	return rows;
}

static void test_documented(void)
{
	g_autoptr(GPtrArray) rows = read_documented();
	guint i = 0;
	for (const struct belonging *each = belongings; each->name; each++, i++) {
		g_autofree char *row =
			g_strdup_printf("%s %s", each->name, belonging_fate_name(each->fate));
		g_assert_cmpstr(i < rows->len ? rows->pdata[i] : "(docs/travels.md ends)", ==, row);
	}
	g_assert_cmpint(i, ==, rows->len);
}

static void test_unique(void)
{
	g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
	for (const struct belonging *each = belongings; each->name; each++) {
		g_assert_true(g_hash_table_add(names, (gpointer) (uintptr_t) each->name));
		/* beside the VM only a carrier, or a check that says it, can know of it */
		g_assert_true(each->path || each->carrier || each->check);
		if (each->carrier)
			g_assert_cmpint(each->fate, ==, BELONGING_CARRIED);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/belongings/documented", test_documented);
	g_test_add_func("/belongings/unique", test_unique);
	return g_test_run();
}
