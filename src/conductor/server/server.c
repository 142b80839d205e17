/* SPDX-License-Identifier: Apache-2.0 */
/* Serves a socket's clients, within bounds. */
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

struct server_client {
	struct server *server;
	struct control *control;
	int fd;
	bool follows, gone;
};

struct server {
	char *directory, *id;
	server_asked asked;
	void *data;
	int listener;
	guint watch, reaper;
	GPtrArray *clients; /* struct server_client */
};

static void free_client(gpointer data)
{
	struct server_client *client = data;
	control_free(client->control);
	close(client->fd);
	g_free(client);
}

static gboolean reap(gpointer data)
{
	struct server *server = data;
	server->reaper = 0;
	for (guint i = server->clients->len; i-- > 0;) {
		const struct server_client *client = server->clients->pdata[i];
		if (client->gone)
			g_ptr_array_remove_index_fast(server->clients, i);
	}
	return G_SOURCE_REMOVE;
}

/* It may be in the middle of its own call. */
static void lost(const char *reason, void *data)
{
	struct server_client *client = data;
	client->gone = true;
	if (!client->server->reaper)
		client->server->reaper = g_idle_add(reap, client->server);
}

static void got(JsonObject *message, void *data)
{
	struct server_client *client = data;
	client->server->asked(client, json_get_string(message, "t", ""), message,
			      client->server->data);
}

static gboolean can_accept(gint listener, GIOCondition condition, gpointer data)
{
	struct server *server = data;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return G_SOURCE_CONTINUE;
	if (server->clients->len >= SERVER_CLIENTS_MAX) {
		close(fd);
		return G_SOURCE_CONTINUE;
	}
	struct server_client *client = g_new0(struct server_client, 1);
	client->server = server;
	client->fd = fd;
	client->control = control_new(fd, fd, got, lost, client);
	g_ptr_array_add(server->clients, client);
	return G_SOURCE_CONTINUE;
}

struct server *server_open(const char *directory, const char *id, server_asked asked, void *data,
			   GError **error)
{
	int listener = directory ? server_listen(directory, id) : -1;
	if (listener < 0) {
		error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s", g_strerror(errno));
		return NULL;
	}
	struct server *server = g_new0(struct server, 1);
	*server = (struct server){ .directory = g_strdup(directory),
				   .id = g_strdup(id),
				   .asked = asked,
				   .data = data,
				   .listener = listener };
	server->clients = g_ptr_array_new_with_free_func(free_client);
	server->watch = g_unix_fd_add(listener, G_IO_IN, can_accept, server);
	return server;
}

void server_close(struct server *server)
{
	if (!server)
		return;
	int64_t until = clock_now_ms() + FAREWELL_MS;
	g_source_remove(server->watch);
	close(server->listener);
	server_remove(server->directory, server->id);
	for (guint i = 0; i < server->clients->len; i++) {
		const struct server_client *client = server->clients->pdata[i];
		int64_t left_ms = until - clock_now_ms();
		if (!client->gone && left_ms > 0)
			control_flush(client->control, (int) left_ms);
	}
	if (server->reaper)
		g_source_remove(server->reaper);
	g_ptr_array_unref(server->clients);
	g_free(server->directory);
	g_free(server->id);
	g_free(server);
}

void server_answer(struct server_client *client, JsonObject *message)
{
	if (client->gone)
		json_object_unref(message);
	else
		control_send(client->control, message);
}

void server_follow(struct server_client *client)
{
	client->follows = true;
}

bool server_is_followed(const struct server *server)
{
	for (guint i = 0; server && i < server->clients->len; i++) {
		const struct server_client *client = server->clients->pdata[i];
		if (client->follows && !client->gone)
			return true;
	}
	return false;
}

void server_tell(struct server *server, JsonObject *message, bool kept)
{
	for (guint i = 0; server && i < server->clients->len; i++) {
		const struct server_client *client = server->clients->pdata[i];
		if (!client->follows || client->gone)
			continue;
		if (kept)
			control_send(client->control, json_object_ref(message));
		else
			control_send_if_idle(client->control, json_object_ref(message));
	}
	json_object_unref(message);
}
