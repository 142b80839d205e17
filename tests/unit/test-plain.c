/* SPDX-License-Identifier: Apache-2.0 */
/* What other hosts say reaches the terminal as letters only, however it is cut into pieces. */
#include "base/plain.h"

#include <string.h>
#include <unistd.h>

static const struct {
	const char *raw, *shown;
} rows[] = {
	{ "plain text,\ttwo\nlines", "plain text,\ttwo\nlines" },
	{ "渡り “é” 😀", "渡り “é” 😀" },
	{ "\033[2Jgone\033]0;title\007", "?[2Jgone?]0;title?" },
	{ "over\rwritten\b\b\177", "over?written???" },
	{ "C1: \302\2332J \302\205", "C1: ?2J ?" },
	{ "raw C1: \2332J", "raw C1: ?2J" },
	{ "turned \342\200\256txt.exe\342\201\246", "turned ?txt.exe?" },
	{ "lines\342\200\250that are none", "lines?that are none" },
	{ "cut \343\201 off \360\237\230", "cut ? off ?" },
	{ "long \300\233 and surrogate \355\240\200", "long ?? and surrogate ?" },
};

static void test_rows(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		size_t length = strlen(rows[i].raw);
		for (size_t cut = 0; cut <= length; cut++) {
			struct plain plain = { 0 };
			g_autoptr(GString) out = g_string_new(NULL);
			plain_feed(&plain, rows[i].raw, cut, out);
			plain_feed(&plain, rows[i].raw + cut, length - cut, out);
			plain_feed(&plain, "!", 1, out);
			g_autofree char *expected = g_strconcat(rows[i].shown, "!", NULL);
			g_assert_cmpstr(out->str, ==, expected);
		}
	}
}

/* Whatever comes, what leaves is UTF-8 without control characters. */
static void test_noise(void)
{
	GRand *random = g_rand_new_with_seed(1);
	struct plain plain = { 0 };
	g_autoptr(GString) out = g_string_new(NULL);
	for (int i = 0; i < 200000; i++) {
		char byte = (char) g_rand_int(random);
		plain_feed(&plain, &byte, 1, out);
	}
	g_rand_free(random);
	g_assert_true(g_utf8_validate(out->str, (gssize) out->len, NULL));
	for (char *at = out->str; *at; at = g_utf8_next_char(at)) {
		gunichar letter = g_utf8_get_char(at);
		g_assert_true(letter == '\n' || letter == '\t' || !g_unichar_iscntrl(letter));
	}
}

static void test_line(void)
{
	g_autofree char *line = plain_line(g_strdup("one\nwatari: two\t\033[m\343\201"));
	g_assert_cmpstr(line, ==, "one watari: two ?[m?");
}

/* As the program's own stdout is. */
static void test_stream(void)
{
	int ends[2];
	char got[256] = "";
	g_assert_cmpint(pipe(ends), ==, 0);
	FILE *stream = plain_stream(ends[1], _IONBF);
	g_assert_nonnull(stream);
	g_assert_cmpint(fprintf(stream, "at %s: %s\n", "host\033[31m", "渡り"), >, 0);
	g_assert_cmpint(fflush(stream), ==, 0);
	g_assert_cmpint(read(ends[0], got, sizeof(got) - 1), >, 0);
	g_assert_cmpstr(got, ==, "at host?[31m: 渡り\n");
	close(ends[0]);
	close(ends[1]);
	/* a lost output is seen */
	fprintf(stream, "more");
	g_assert_true(fflush(stream) != 0 || ferror(stream));
	fclose(stream);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/plain/rows", test_rows);
	g_test_add_func("/plain/noise", test_noise);
	g_test_add_func("/plain/line", test_line);
	g_test_add_func("/plain/stream", test_stream);
	return g_test_run();
}
