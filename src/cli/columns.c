/* SPDX-License-Identifier: Apache-2.0 */
/* Wrapping of text for a terminal, word by word or, where there are no words, by characters. */
#include "cli/columns.h"

#include <glib.h>
#include <stdbool.h>
#include <string.h>

/* g_utf8_next_char() without its cast. */
static const char *next_character(const char *text)
{
	return text + g_utf8_skip[(unsigned char) *text];
}

static int character_width(gunichar c)
{
	return g_unichar_iszerowidth(c) ? 0 : g_unichar_iswide(c) ? 2 : 1;
}

long columns_width(const char *text)
{
	long width = 0;
	for (; *text; text = next_character(text))
		width += character_width(g_utf8_get_char(text));
	return width;
}

/* May a line end between these two neighbours? Never before what closes, never after what opens,
 * otherwise beside every wide character. */
static bool may_break(gunichar before, gunichar after)
{
	static const char closing[] = "、。,.)」』】:;!?ー…ぁぃぅぇぉっゃゅょァィゥェォッャュョ";
	static const char opening[] = "(「『【“";
	if (g_utf8_strchr(closing, -1, after) || g_utf8_strchr(opening, -1, before))
		return false;
	return g_unichar_iswide(before) || g_unichar_iswide(after);
}

/* Where the piece that begins at TEXT ends: the shortest one that must stay together. */
static const char *piece_end(const char *text)
{
	while (*text && *text != ' ') {
		gunichar before = g_utf8_get_char(text);
		text = next_character(text);
		if (*text && *text != ' ' && may_break(before, g_utf8_get_char(text)))
			break;
	}
	return text;
}

static void print_wrapped(FILE *out, const char *text)
{
	long column = COLUMNS_TEXT;
	while (*text) {
		bool space = *text == ' ';
		if (space)
			text++;
		const char *end = piece_end(text);
		g_autofree char *piece = g_strndup(text, (size_t) (end - text));
		long width = columns_width(piece);
		if (column > COLUMNS_TEXT && column + space + width > COLUMNS_WIDTH) {
			fprintf(out, "\n%*s", COLUMNS_TEXT, "");
			column = COLUMNS_TEXT;
		} else if (space && column > COLUMNS_TEXT) {
			fputc(' ', out);
			column++;
		}
		fputs(piece, out);
		column += width;
		text = end;
	}
	fputc('\n', out);
}

void columns_print(FILE *out, const char *head, const char *text)
{
	long column = columns_width(head) + 2;
	fprintf(out, "  %s", head);
	if (column >= COLUMNS_TEXT - 1) {
		fputc('\n', out);
		column = 0;
	}
	fprintf(out, "%*s", (int) (COLUMNS_TEXT - column), "");
	print_wrapped(out, text);
}
