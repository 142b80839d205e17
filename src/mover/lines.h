/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts a byte stream into lines of bounded length. Used by both ends of the control channel.
 * Memory: JSON_LINE_MAX. One thread at a time. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

struct line_reader;
struct line_reader *line_reader_new(void);
void line_reader_free(struct line_reader *reader);

/* Take LENGTH bytes; for each whole line call GOT(line, length, data) (no newline, not
 * NUL-terminated). False once a line is too long: the channel cannot be trusted any more. GOT
 * returns false to stop; the rest of the bytes is dropped. */
typedef bool (*line_got)(const char *line, size_t length, void *data);
bool line_reader_feed(struct line_reader *reader, const char *bytes, size_t length, line_got got,
		      void *data, GError **error);
