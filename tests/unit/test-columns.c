/* SPDX-License-Identifier: Apache-2.0 */
/* Text in terminal columns: widths, wrapping, Japanese line breaks. */
#include "cli/columns.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>

/* What columns_print() writes, as lines. The caller frees. */
static char **printed(const char *head, const char *text)
{
	char *buffer = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&buffer, &size);
	columns_print(out, head, text);
	fclose(out);
	char **lines = g_strsplit(buffer, "\n", -1);
	free(buffer);
	return lines;
}

static void assert_fits(char **lines)
{
	for (; *lines; lines++)
		g_assert_cmpint(columns_width(*lines), <=, COLUMNS_WIDTH);
}

static void test_width(void)
{
	g_assert_cmpint(columns_width(""), ==, 0);
	g_assert_cmpint(columns_width("abc"), ==, 3);
	g_assert_cmpint(columns_width("時間"), ==, 4);
	g_assert_cmpint(columns_width("“a”…"), ==, 4);
}

static void test_english(void)
{
	g_auto(GStrv) lines = printed("--name VALUE", "one two three four five six seven eight "
						      "nine ten eleven twelve thirteen");
	assert_fits(lines);
	g_assert_cmpstr(
		lines[0], ==,
		"  --name VALUE                one two three four five six seven eight nine ten");
	g_assert_cmpstr(lines[1], ==, "                              eleven twelve thirteen");
}

static void test_long_head(void)
{
	g_auto(GStrv) lines = printed("--a-very-long-name-of-an-option", "text");
	g_assert_cmpstr(lines[0], ==, "  --a-very-long-name-of-an-option");
	g_assert_cmpstr(lines[1], ==, "                              text");
}

static void test_japanese(void)
{
	g_auto(GStrv) lines =
		printed("--time 時間", "停止時間の上限です。停止時間の上限ですよ、上限です。"
				       "停止時間の上限。停止時間の上限ですが、終わり。");
	assert_fits(lines);
	g_assert_cmpint((int) g_strv_length(lines), >, 2);
	/* The text begins in the same column on all lines. */
	g_assert_true(g_str_has_prefix(lines[0], "  --time 時間                 停"));
	for (char **line = lines + 1; **line; line++) {
		g_assert_true(g_str_has_prefix(*line, "                              "));
		const char *text = *line + COLUMNS_TEXT;
		g_assert_false(g_str_has_prefix(text, "。") || g_str_has_prefix(text, "、"));
	}
}

/* Nothing is lost by wrapping. */
static void test_complete(void)
{
	const char *text =
		"両方の QEMU "
		"のメモリを読んで比べます(既定。行わない)。その分だけ停止時間が延びます。"
		"none、sample、full のいずれかです。";
	g_auto(GStrv) lines = printed("--x", text);
	GString *joined = g_string_new(NULL);
	for (char **line = lines; **line; line++)
		g_string_append(joined, *line + COLUMNS_TEXT);
	g_auto(GStrv) before = g_strsplit(text, " ", -1), after = g_strsplit(joined->str, " ", -1);
	g_autofree char *a = g_strjoinv("", before), *b = g_strjoinv("", after);
	g_assert_cmpstr(a, ==, b);
	g_string_free(joined, TRUE);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/columns/width", test_width);
	g_test_add_func("/columns/english", test_english);
	g_test_add_func("/columns/long-head", test_long_head);
	g_test_add_func("/columns/japanese", test_japanese);
	g_test_add_func("/columns/complete", test_complete);
	return g_test_run();
}
