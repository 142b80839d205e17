/* SPDX-License-Identifier: Apache-2.0 */
#include "mover/channel.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "mover/lines.h"

#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <string.h>

#define OUTPUT_MAX (1024 * 1024)

struct channel {
	int in, out;
	guint in_watch, out_watch;
	struct line_reader *lines;
	GByteArray *waiting;
	bool is_lost;
	void (*got)(JsonObject *message, void *data);
	void (*lost)(const char *reason, void *data);
	void *data;
};

static void set_lost(struct channel *channel, const char *reason)
{
	if (channel->is_lost)
		return;
	channel->is_lost = true;
	channel->lost(reason, channel->data);
}

static bool got_line(const char *line, size_t length, void *data)
{
	struct channel *channel = data;
	g_autoptr(GError) error = NULL;
	g_autoptr(JsonObject) message = json_parse_object(line, length, &error);
	if (!message)
		set_lost(channel, error->message);
	else
		channel->got(message, channel->data);
	return !channel->is_lost;
}

static gboolean can_read(gint fd, GIOCondition condition, void *data)
{
	struct channel *channel = data;
	char bytes[16384];
	g_autoptr(GError) error = NULL;
	ssize_t n = read(fd, bytes, sizeof(bytes));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return G_SOURCE_CONTINUE;
	if (n <= 0)
		set_lost(channel, n < 0 ? g_strerror(errno) : NULL);
	else if (!line_reader_feed(channel->lines, bytes, (size_t) n, got_line, channel, &error))
		set_lost(channel, error->message);
	if (!channel->is_lost)
		return G_SOURCE_CONTINUE;
	channel->in_watch = 0;
	return G_SOURCE_REMOVE;
}

/* Write what can be written now. */
static void push(struct channel *channel)
{
	while (channel->waiting->len > 0) {
		ssize_t n = write(channel->out, channel->waiting->data, channel->waiting->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			set_lost(channel, g_strerror(errno));
		if (n < 0)
			return;
		g_byte_array_remove_range(channel->waiting, 0, (guint) n);
	}
}

static gboolean can_write(gint fd, GIOCondition condition, void *data)
{
	struct channel *channel = data;
	push(channel);
	if (channel->waiting->len > 0 && !channel->is_lost)
		return G_SOURCE_CONTINUE;
	channel->out_watch = 0;
	return G_SOURCE_REMOVE;
}

struct channel *channel_new(int in, int out, void (*got)(JsonObject *message, void *data),
			    void (*lost)(const char *reason, void *data), void *data)
{
	struct channel *channel = g_new0(struct channel, 1);
	*channel = (struct channel){ .in = in, .out = out, .got = got, .lost = lost, .data = data };
	channel->lines = line_reader_new();
	channel->waiting = g_byte_array_new();
	fd_set_nonblocking(in, true);
	fd_set_nonblocking(out, true);
	channel->in_watch = g_unix_fd_add(in, G_IO_IN | G_IO_HUP | G_IO_ERR, can_read, channel);
	return channel;
}

void channel_free(struct channel *channel)
{
	if (channel->in_watch)
		g_source_remove(channel->in_watch);
	if (channel->out_watch)
		g_source_remove(channel->out_watch);
	line_reader_free(channel->lines);
	g_byte_array_unref(channel->waiting);
	g_free(channel);
}

void channel_send(struct channel *channel, JsonObject *message)
{
	g_autofree char *text = json_print_object(message);
	json_object_unref(message);
	if (channel->is_lost)
		return;
	if (channel->waiting->len > OUTPUT_MAX) {
		set_lost(channel, "the conductor does not read");
		return;
	}
	g_byte_array_append(channel->waiting, (const guint8 *) text, (guint) strlen(text));
	g_byte_array_append(channel->waiting, (const guint8 *) "\n", 1);
	push(channel);
	if (channel->waiting->len > 0 && !channel->out_watch)
		channel->out_watch = g_unix_fd_add(channel->out, G_IO_OUT | G_IO_HUP | G_IO_ERR,
						   can_write, channel);
}

void channel_send_if_idle(struct channel *channel, JsonObject *message)
{
	if (channel->waiting->len == 0)
		channel_send(channel, message);
	else
		json_object_unref(message);
}

void channel_flush(struct channel *channel, int wait_ms)
{
	int64_t until = clock_now_ms() + wait_ms;
	while (channel->waiting->len > 0 && !channel->is_lost && clock_now_ms() < until) {
		struct pollfd ready = { .fd = channel->out, .events = POLLOUT };
		poll(&ready, 1, (int) MAX(until - clock_now_ms(), 0));
		push(channel);
	}
}
