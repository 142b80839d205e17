/* SPDX-License-Identifier: Apache-2.0 */
#include "conductor/server/server.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"
#include "base/json.h"
#include "conductor/server/socket_place.h"
#include "mover/control.h"

#include <errno.h>
#include <glib-unix.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FAREWELL_MS = 300 }; /* for all together */

struct desk_client {
	struct desk *desk;
	struct control *control;
	int fd;
	bool follows, gone;
};

struct desk {
	char *directory, *id;
	desk_asked asked;
	void *data;
	int listener;
	guint watch, reaper;
	GPtrArray *clients; /* struct desk_client */
};

static void free_client(gpointer data)
{
	struct desk_client *client = data;
	control_free(client->control);
	close(client->fd);
	g_free(client);
}

static gboolean reap(gpointer data)
{
	struct desk *desk = data;
	desk->reaper = 0;
	for (guint i = desk->clients->len; i-- > 0;) {
		const struct desk_client *client = desk->clients->pdata[i];
		if (client->gone)
			g_ptr_array_remove_index_fast(desk->clients, i);
	}
	return G_SOURCE_REMOVE;
}

/* It may be in the middle of its own call. */
static void lost(const char *reason, void *data)
{
	struct desk_client *client = data;
	client->gone = true;
	if (!client->desk->reaper)
		client->desk->reaper = g_idle_add(reap, client->desk);
}

static void got(JsonObject *message, void *data)
{
	struct desk_client *client = data;
	client->desk->asked(client, json_get_string(message, "t", ""), message, client->desk->data);
}

static gboolean can_accept(gint listener, GIOCondition condition, gpointer data)
{
	struct desk *desk = data;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return G_SOURCE_CONTINUE;
	if (desk->clients->len >= DESK_CLIENTS_MAX) {
		close(fd);
		return G_SOURCE_CONTINUE;
	}
	struct desk_client *client = g_new0(struct desk_client, 1);
	client->desk = desk;
	client->fd = fd;
	client->control = control_new(fd, fd, got, lost, client);
	g_ptr_array_add(desk->clients, client);
	return G_SOURCE_CONTINUE;
}

struct desk *desk_open(const char *directory, const char *id, desk_asked asked, void *data,
		       GError **error)
{
	int listener = directory ? desk_listen(directory, id) : -1;
	if (listener < 0) {
		error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s", g_strerror(errno));
		return NULL;
	}
	struct desk *desk = g_new0(struct desk, 1);
	*desk = (struct desk){ .directory = g_strdup(directory),
			       .id = g_strdup(id),
			       .asked = asked,
			       .data = data,
			       .listener = listener };
	desk->clients = g_ptr_array_new_with_free_func(free_client);
	desk->watch = g_unix_fd_add(listener, G_IO_IN, can_accept, desk);
	return desk;
}

void desk_close(struct desk *desk)
{
	if (!desk)
		return;
	int64_t until = clock_now_ms() + FAREWELL_MS;
	g_source_remove(desk->watch);
	close(desk->listener);
	desk_remove(desk->directory, desk->id);
	for (guint i = 0; i < desk->clients->len; i++) {
		const struct desk_client *client = desk->clients->pdata[i];
		int64_t left_ms = until - clock_now_ms();
		if (!client->gone && left_ms > 0)
			control_flush(client->control, (int) left_ms);
	}
	if (desk->reaper)
		g_source_remove(desk->reaper);
	g_ptr_array_unref(desk->clients);
	g_free(desk->directory);
	g_free(desk->id);
	g_free(desk);
}

void desk_answer(struct desk_client *client, JsonObject *message)
{
	if (client->gone)
		json_object_unref(message);
	else
		control_send(client->control, message);
}

void desk_follow(struct desk_client *client)
{
	client->follows = true;
}

bool desk_is_followed(const struct desk *desk)
{
	for (guint i = 0; desk && i < desk->clients->len; i++) {
		const struct desk_client *client = desk->clients->pdata[i];
		if (client->follows && !client->gone)
			return true;
	}
	return false;
}

void desk_tell(struct desk *desk, JsonObject *message, bool kept)
{
	for (guint i = 0; desk && i < desk->clients->len; i++) {
		const struct desk_client *client = desk->clients->pdata[i];
		if (!client->follows || client->gone)
			continue;
		if (kept)
			control_send(client->control, json_object_ref(message));
		else
			control_send_if_idle(client->control, json_object_ref(message));
	}
	json_object_unref(message);
}
