/* SPDX-License-Identifier: Apache-2.0 */
/* Lines to and from the conductor, without blocking. */
#include "mover/control.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "mover/lines.h"

#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <string.h>

#define OUTPUT_MAX (1024 * 1024)

struct control {
	int in, out;
	guint in_watch, out_watch;
	struct line_reader *lines;
	GByteArray *waiting;
	bool is_lost;
	void (*got)(JsonObject *message, void *data);
	void (*lost)(const char *reason, void *data);
	void *data;
};

static void set_lost(struct control *control, const char *reason)
{
	if (control->is_lost)
		return;
	control->is_lost = true;
	control->lost(reason, control->data);
}

static bool got_line(const char *line, size_t length, void *data)
{
	struct control *control = data;
	g_autoptr(GError) error = NULL;
	g_autoptr(JsonObject) message = json_parse_object(line, length, &error);
	if (!message)
		set_lost(control, error->message);
	else
		control->got(message, control->data);
	return !control->is_lost;
}

static gboolean can_read(gint fd, GIOCondition condition, void *data)
{
	struct control *control = data;
	char bytes[16384];
	g_autoptr(GError) error = NULL;
	ssize_t n = read(fd, bytes, sizeof(bytes));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return G_SOURCE_CONTINUE;
	if (n <= 0)
		set_lost(control, n < 0 ? g_strerror(errno) : NULL);
	else if (!line_reader_feed(control->lines, bytes, (size_t) n, got_line, control, &error))
		set_lost(control, error->message);
	explicit_bzero(bytes, sizeof(bytes)); /* the key may have been in it */
	if (!control->is_lost)
		return G_SOURCE_CONTINUE;
	control->in_watch = 0;
	return G_SOURCE_REMOVE;
}

/* Write what can be written now. */
static void push(struct control *control)
{
	while (control->waiting->len > 0) {
		ssize_t n = write(control->out, control->waiting->data, control->waiting->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			set_lost(control, g_strerror(errno));
		if (n < 0)
			return;
		g_byte_array_remove_range(control->waiting, 0, (guint) n);
	}
}

static gboolean can_write(gint fd, GIOCondition condition, void *data)
{
	struct control *control = data;
	push(control);
	if (control->waiting->len > 0 && !control->is_lost)
		return G_SOURCE_CONTINUE;
	control->out_watch = 0;
	return G_SOURCE_REMOVE;
}

struct control *control_new(int in, int out, void (*got)(JsonObject *message, void *data),
			    void (*lost)(const char *reason, void *data), void *data)
{
	struct control *control = g_new0(struct control, 1);
	*control = (struct control){ .in = in, .out = out, .got = got, .lost = lost, .data = data };
	control->lines = line_reader_new();
	control->waiting = g_byte_array_new();
	fd_set_nonblocking(in, true);
	fd_set_nonblocking(out, true);
	control->in_watch = g_unix_fd_add(in, G_IO_IN | G_IO_HUP | G_IO_ERR, can_read, control);
	return control;
}

void control_free(struct control *control)
{
	if (control->in_watch)
		g_source_remove(control->in_watch);
	if (control->out_watch)
		g_source_remove(control->out_watch);
	line_reader_free(control->lines);
	g_byte_array_unref(control->waiting);
	g_free(control);
}

void control_send(struct control *control, JsonObject *message)
{
	g_autofree char *text = json_print_object(message);
	json_object_unref(message);
	if (control->is_lost)
		return;
	if (control->waiting->len > OUTPUT_MAX) {
		set_lost(control, "the conductor does not read");
		return;
	}
	g_byte_array_append(control->waiting, (const guint8 *) text, (guint) strlen(text));
	g_byte_array_append(control->waiting, (const guint8 *) "\n", 1);
	push(control);
	if (control->waiting->len > 0 && !control->out_watch)
		control->out_watch = g_unix_fd_add(control->out, G_IO_OUT | G_IO_HUP | G_IO_ERR,
						   can_write, control);
}

void control_send_if_idle(struct control *control, JsonObject *message)
{
	if (control->waiting->len == 0)
		control_send(control, message);
	else
		json_object_unref(message);
}

void control_flush(struct control *control, int wait_ms)
{
	int64_t until = clock_now_ms() + wait_ms;
	while (control->waiting->len > 0 && !control->is_lost && clock_now_ms() < until) {
		struct pollfd ready = { .fd = control->out, .events = POLLOUT };
		poll(&ready, 1, (int) MAX(until - clock_now_ms(), 0));
		push(control);
	}
}
