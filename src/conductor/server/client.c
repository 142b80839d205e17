/* SPDX-License-Identifier: Apache-2.0 */
/* Talks to running conductors, and finds them. */
#include "conductor/server/client.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"
#include "base/json.h"
#include "journal/conductor_process.h"
#include "conductor/server/socket_place.h"
#include "mover/lines.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

enum { ANSWER_MS = 3000, RUNNING_MOST = 64 };

static const char *const state_names[] = {
	[CLIENT_RUNNING] = "running",
	[CLIENT_SILENT] = "silent",
	[CLIENT_BROKEN] = "broken-off",
	[CLIENT_ENDED] = "ended",
};
_Static_assert(G_N_ELEMENTS(state_names) == CLIENT_STATE_LAST, "every state has a name");

const char *client_state_name(enum client_state state)
{
	return state_names[state];
}

/* ---- one visit ---- */

struct client {
	int fd;
	struct line_reader *lines;
	GQueue heard; /* JsonObject */
};

struct client *client_open(const char *directory, const char *id, GError **error)
{
	g_autofree char *place = server_directory(directory);
	int fd = place ? server_dial(place, id) : -1;
	if (fd < 0) {
		error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s", g_strerror(errno));
		return NULL;
	}
	struct client *client = g_new0(struct client, 1);
	client->fd = fd;
	client->lines = line_reader_new();
	return client;
}

void client_close(struct client *client)
{
	if (!client)
		return;
	close(client->fd);
	line_reader_free(client->lines);
	g_queue_clear_full(&client->heard, (GDestroyNotify) json_object_unref);
	g_free(client);
}

JsonObject *client_message(const char *type)
{
	JsonObject *message = json_object_new();
	json_object_set_string_member(message, "t", type);
	return message;
}

bool client_say(struct client *client, JsonObject *message, GError **error)
{
	g_autofree char *text = json_print_object(message);
	g_autofree char *line = g_strconcat(text, "\n", NULL);
	json_object_unref(message);
	if (fd_write_all(client->fd, line, strlen(line)))
		return true;
	return error_set(error, WATARI_ERROR_INTERNAL, NULL,
			 _("the move's conductor does not listen: %s"), g_strerror(errno));
}

static bool got_client_line(const char *line, size_t length, void *data)
{
	struct client *client = data;
	JsonObject *message = json_parse_object(line, length, NULL);
	if (message)
		g_queue_push_tail(&client->heard, message);
	return true;
}

/* False at the end (without *error), or with *error. */
static bool read_some(struct client *client, int timeout_ms, GError **error)
{
	char bytes[16384];
	struct pollfd ready = { .fd = client->fd, .events = POLLIN };
	int n = poll(&ready, 1, timeout_ms);
	if (n == 0)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL, _("no answer in time"));
	ssize_t length = n > 0 ? read(client->fd, bytes, sizeof bytes) : -1;
	if (length < 0 && errno == EINTR)
		return true;
	if (length < 0 && errno != ECONNRESET)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s", g_strerror(errno));
	return length > 0 && line_reader_feed(client->lines, bytes, (size_t) length,
					      got_client_line, client, error);
}

JsonObject *client_hear(struct client *client, int timeout_ms, GError **error)
{
	int64_t until = clock_now_ms() + timeout_ms;
	while (g_queue_is_empty(&client->heard)) {
		int64_t left_ms = timeout_ms < 0 ? -1 : MAX(until - clock_now_ms(), 0);
		if (!read_some(client, (int) left_ms, error))
			return NULL;
	}
	return g_queue_pop_head(&client->heard);
}

JsonObject *client_ask(struct client *client, JsonObject *message, GError **error)
{
	if (!client_say(client, message, error))
		return NULL;
	JsonObject *answer = client_hear(client, ANSWER_MS, error);
	if (!answer && error && !*error)
		error_set(error, WATARI_ERROR_INTERNAL, NULL, _("the move has just ended"));
	return answer;
}

/* ---- which moves there are ---- */

void client_move_free(struct client_move *move)
{
	if (!move)
		return;
	journal_move_free(move->move);
	if (move->live)
		json_object_unref(move->live);
	g_free(move);
}

/* One that has just ended may still be without its end in what was read of the journal. */
static struct client_move *look_for_answer(const char *directory, struct journal_move *move)
{
	struct client_move *found = g_new0(struct client_move, 1);
	found->move = move;
	found->state = CLIENT_ENDED;
	if (move->outcome)
		return found;
	struct client *client = client_open(directory, move->id, NULL);
	if (client)
		found->live = client_ask(client, client_message("status"), NULL);
	client_close(client);
	found->state = found->live             ? CLIENT_RUNNING
		       : conductor_lives(move) ? CLIENT_SILENT
					       : CLIENT_BROKEN;
	return found;
}

GPtrArray *client_list(const char *directory, const char *vm, int most, GError **error)
{
	GPtrArray *found =
		g_ptr_array_new_with_free_func((GDestroyNotify) (void (*)(void)) client_move_free);
	struct journal *journal = journal_open_existing(directory, error);
	if (!journal)
		return found;
	g_autoptr(GPtrArray) moves = journal_list(journal, vm, most, error);
	journal_close(journal);
	while (moves->len > 0)
		g_ptr_array_add(found,
				look_for_answer(directory, g_ptr_array_steal_index(moves, 0)));
	return found;
}

static struct client_move *not_found(const char *vm, const struct client_move *newest,
				     GError **error)
{
	if (!newest)
		error_set(error, WATARI_ERROR_REFUSED,
			  _("Moves are known where they were started, to the user who started "
			    "them: see “watari status” there."),
			  _("the journal on this machine knows no move of “%s”"), vm);
	else if (newest->state == CLIENT_SILENT)
		error_set(error, WATARI_ERROR_REFUSED,
			  _("It may just be starting or ending; try again in a moment."),
			  _("the move of %s runs, by process %d, and does not answer"), vm,
			  (int) newest->move->pid);
	else if (newest->state == CLIENT_BROKEN)
		error_set(error, WATARI_ERROR_REFUSED,
			  _("“watari resolve” finds the VM and ends the move right."),
			  _("the move of %s was broken off: its program is gone"), vm);
	else
		error_set(error, WATARI_ERROR_REFUSED, _("“watari status” tells how it ended."),
			  _("no move of %s is running"), vm);
	return NULL;
}

struct client_move *client_find(const char *directory, const char *vm, GError **error)
{
	g_autoptr(GError) own = NULL;
	g_autoptr(GPtrArray) moves = client_list(directory, vm, RUNNING_MOST, &own);
	struct client_move *running = NULL;
	for (guint i = 0; i < moves->len; i++) {
		struct client_move *move = moves->pdata[i];
		if (move->state != CLIENT_RUNNING)
			continue;
		if (running) {
			error_set(error, WATARI_ERROR_REFUSED,
				  _("Name the move by its id; “watari status --json” shows it."),
				  _("more than one move of “%s” is running"), vm);
			return NULL;
		}
		running = move;
	}
	if (own && moves->len == 0) {
		g_propagate_error(error, g_steal_pointer(&own));
		return NULL;
	}
	if (!running)
		return not_found(vm, moves->len > 0 ? moves->pdata[0] : NULL, error);
	g_ptr_array_set_free_func(moves, NULL);
	for (guint i = 0; i < moves->len; i++)
		if (moves->pdata[i] != running)
			client_move_free(moves->pdata[i]);
	return running;
}
