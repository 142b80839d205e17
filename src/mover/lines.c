/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts bytes into lines of bounded length. */
#include "mover/lines.h"

#include "base/error.h"
#include "base/i18n.h"
#include "base/json.h"

#include <string.h>

struct line_reader {
	char text[JSON_LINE_MAX];
	size_t length;
};

struct line_reader *line_reader_new(void)
{
	return g_new0(struct line_reader, 1);
}

void line_reader_free(struct line_reader *reader)
{
	g_free(reader);
}

bool line_reader_feed(struct line_reader *reader, const char *bytes, size_t length, line_got got,
		      void *data, GError **error)
{
	while (length > 0) {
		const char *end = memchr(bytes, '\n', length);
		size_t part = end ? (size_t) (end - bytes) : length;
		if (reader->length + part > sizeof(reader->text))
			return error_set(error, WATARI_ERROR_INTERNAL, NULL,
					 _("a line of more than %d bytes on the control channel"),
					 JSON_LINE_MAX);
		memcpy(reader->text + reader->length, bytes, part);
		reader->length += part;
		if (!end)
			return true;
		size_t whole = reader->length;
		reader->length = 0;
		bool more = got(reader->text, whole, data);
		explicit_bzero(reader->text, whole); /* the key may have been in it */
		if (!more)
			return true;
		bytes = end + 1;
		length -= part + 1;
	}
	return true;
}
