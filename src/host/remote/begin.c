/* SPDX-License-Identifier: Apache-2.0 */
/* What stands before each command at a host. See begin.h. */
#include "host/remote/begin.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define LINE "\nwatari-begins\n"

/* $0 is the word for the rights. The shell becomes the command, so that signals and the end of its
 * stdin reach it. sudo is asked first whether it would want a password: half of a command cannot be
 * taken back. */
static const char prologue[] =
	"printf '\\nwatari-begins\\n'; "
	"if [ \"$0\" = libvirt ]; then case \" $(id -nG 2>/dev/null) \" in "
	"*' libvirt '*) exec \"$@\";; esac; fi; "
	"if [ \"$(id -u)\" -ne 0 ] && { command -v sudo && sudo -n true; } </dev/null "
	">/dev/null 2>&1; then exec sudo -n -- \"$@\"; fi; "
	"exec \"$@\"";

char **begin_wrap(const char *const *argv, enum begin_rights rights)
{
	static const char *const names[] = { [BEGIN_ROOT] = "root", [BEGIN_LIBVIRT] = "libvirt" };
	g_autoptr(GStrvBuilder) words = g_strv_builder_new();
	g_strv_builder_add_many(words, "sh", "-c", prologue, names[rights], NULL);
	for (; *argv; argv++)
		g_strv_builder_add(words, *argv);
	return g_strv_builder_end(words);
}

static void take_byte(struct begin *begin, char byte)
{
	if (begin->seen < sizeof(begin->words))
		begin->words[begin->seen] = byte;
	begin->seen++;
	/* the line has its first byte nowhere but at its ends */
	begin->matched = byte == LINE[begin->matched] ? begin->matched + 1 : byte == LINE[0];
	begin->done = begin->matched == strlen(LINE);
}

enum begin_state begin_read(struct begin *begin, int fd)
{
	char byte;
	/* byte by byte: what is behind the line is not ours */
	while (!begin->done && begin->seen < BEGIN_NOISE_MAX) {
		ssize_t got = read(fd, &byte, 1);
		if (got == 1)
			take_byte(begin, byte);
		else if (got == 0 || (errno != EAGAIN && errno != EINTR))
			return BEGIN_BROKEN;
		else if (errno == EAGAIN)
			return BEGIN_WAITS;
	}
	return begin->done ? BEGIN_DONE : BEGIN_BROKEN;
}

char *begin_noise(const struct begin *begin)
{
	size_t line = begin->done ? strlen(LINE) : begin->matched;
	/* without a prologue nothing was passed over */
	size_t length = begin->seen > line ? begin->seen - line : 0;
	g_autofree char *valid =
		g_utf8_make_valid(begin->words, (gssize) MIN(length, sizeof(begin->words)));
	GString *text = g_string_new(NULL);
	for (char *at = valid; *at; at = g_utf8_next_char(at)) {
		gunichar c = g_utf8_get_char(at);
		g_string_append_unichar(text, g_unichar_isprint(c) ? c : ' ');
	}
	char *words = g_strstrip(g_string_free(text, FALSE));
	if (*words)
		return words;
	g_free(words);
	return NULL;
}
