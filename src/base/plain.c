/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps control characters from the terminal. See plain.h. */
#include "base/plain.h"

#include "base/fd.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Of the lead byte of a letter; 0: it is none. */
static unsigned letter_length(unsigned char lead)
{
	return lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
}

static bool is_harmful(gunichar letter)
{
	static const struct {
		gunichar first, last;
	} ranges[] = {
		{ 0x80, 0x9f },     /* C1: a terminal may take 0x9b for ESC [ */
		{ 0x2028, 0x202e }, /* separators, and what turns the direction */
		{ 0x2066, 0x2069 }, /* the same */
		{ 0xfff9, 0xfffb },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(ranges); i++)
		if (letter >= ranges[i].first && letter <= ranges[i].last)
			return true;
	return false;
}

static void end_letter(struct plain *plain, GString *out)
{
	gunichar letter = g_utf8_get_char_validated((const char *) plain->letter, plain->have);
	if (plain->have < plain->want || letter == (gunichar) -1 || letter == (gunichar) -2 ||
	    is_harmful(letter))
		g_string_append_c(out, '?');
	else
		g_string_append_len(out, (const char *) plain->letter, plain->have);
	plain->have = plain->want = 0;
}

static void feed_byte(struct plain *plain, unsigned char byte, GString *out)
{
	bool follows = (byte & 0xc0) == 0x80;
	if (plain->want && !follows)
		end_letter(plain, out);
	if (plain->want && follows) {
		plain->letter[plain->have++] = byte;
		if (plain->have == plain->want)
			end_letter(plain, out);
	} else if (byte < 0x80) {
		bool shown = (byte >= 0x20 && byte != 0x7f) || byte == '\n' || byte == '\t';
		g_string_append_c(out, shown ? (char) byte : '?');
	} else if (letter_length(byte)) {
		plain->want = letter_length(byte);
		plain->letter[0] = byte;
		plain->have = 1;
	} else {
		g_string_append_c(out, '?');
	}
}

void plain_feed(struct plain *plain, const char *at, size_t length, GString *out)
{
	for (size_t i = 0; i < length; i++)
		feed_byte(plain, (unsigned char) at[i], out);
}

char *plain_line(char *raw)
{
	struct plain plain = { 0 };
	GString *line = g_string_new(NULL);
	plain_feed(&plain, raw, strlen(raw), line);
	if (plain.want)
		end_letter(&plain, line);
	g_free(raw);
	for (char *at = line->str; *at; at++)
		if (*at == '\n' || *at == '\t')
			*at = ' ';
	return g_string_free(line, FALSE);
}

/* ---- streams ---- */

/* One of the few streams of the program, for as long as it runs. */
struct sink {
	struct sink *next;
	int fd;
	struct plain plain;
};

static ssize_t write_plain(void *cookie, const char *bytes, size_t length)
{
	struct sink *sink = cookie;
	g_autoptr(GString) out = g_string_sized_new(length);
	plain_feed(&sink->plain, bytes, length, out);
	/* 0 is how such a stream learns of a failure; errno stays */
	return out->len == 0 || fd_write_all(sink->fd, out->str, out->len) ? (ssize_t) length : 0;
}

FILE *plain_stream(int fd, int buffering)
{
	static const cookie_io_functions_t functions = { .write = write_plain };
	static struct sink *all;
	struct sink *sink = g_new0(struct sink, 1);
	*sink = (struct sink){ .next = all, .fd = fd };
	all = sink;
	FILE *stream = fopencookie(sink, "w", functions);
	if (stream)
		setvbuf(stream, NULL, buffering, BUFSIZ);
	return stream;
}

void plain_command(const char *sequence)
{
	fflush(stderr);
	if (write(STDERR_FILENO, sequence, strlen(sequence)) < 0)
		return; /* nobody looks */
}
