/* SPDX-License-Identifier: Apache-2.0 */
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
	[VISIT_RUNNING] = "running",
	[VISIT_SILENT] = "silent",
	[VISIT_BROKEN] = "broken-off",
	[VISIT_ENDED] = "ended",
};
_Static_assert(G_N_ELEMENTS(state_names) == VISIT_STATE_LAST, "every state has a name");

const char *visit_state_name(enum visit_state state)
{
	return state_names[state];
}

/* ---- one visit ---- */

struct visit {
	int fd;
	struct line_reader *lines;
	GQueue heard; /* JsonObject */
};

struct visit *visit_open(const char *directory, const char *id, GError **error)
{
	g_autofree char *place = desk_directory(directory);
	int fd = place ? desk_dial(place, id) : -1;
	if (fd < 0) {
		error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s", g_strerror(errno));
		return NULL;
	}
	struct visit *visit = g_new0(struct visit, 1);
	visit->fd = fd;
	visit->lines = line_reader_new();
	return visit;
}

void visit_close(struct visit *visit)
{
	if (!visit)
		return;
	close(visit->fd);
	line_reader_free(visit->lines);
	g_queue_clear_full(&visit->heard, (GDestroyNotify) json_object_unref);
	g_free(visit);
}

JsonObject *visit_message(const char *type)
{
	JsonObject *message = json_object_new();
	json_object_set_string_member(message, "t", type);
	return message;
}

bool visit_say(struct visit *visit, JsonObject *message, GError **error)
{
	g_autofree char *text = json_print_object(message);
	g_autofree char *line = g_strconcat(text, "\n", NULL);
	json_object_unref(message);
	if (fd_write_all(visit->fd, line, strlen(line)))
		return true;
	return error_set(error, WATARI_ERROR_INTERNAL, NULL,
			 _("the move's conductor does not listen: %s"), g_strerror(errno));
}

static bool got_line(const char *line, size_t length, void *data)
{
	struct visit *visit = data;
	JsonObject *message = json_parse_object(line, length, NULL);
	if (message)
		g_queue_push_tail(&visit->heard, message);
	return true;
}

/* False at the end (without *error), or with *error. */
static bool read_some(struct visit *visit, int timeout_ms, GError **error)
{
	char bytes[16384];
	struct pollfd ready = { .fd = visit->fd, .events = POLLIN };
	int n = poll(&ready, 1, timeout_ms);
	if (n == 0)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL, _("no answer in time"));
	ssize_t length = n > 0 ? read(visit->fd, bytes, sizeof bytes) : -1;
	if (length < 0 && errno == EINTR)
		return true;
	if (length < 0 && errno != ECONNRESET)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s", g_strerror(errno));
	return length > 0 &&
	       line_reader_feed(visit->lines, bytes, (size_t) length, got_line, visit, error);
}

JsonObject *visit_hear(struct visit *visit, int timeout_ms, GError **error)
{
	int64_t until = clock_now_ms() + timeout_ms;
	while (g_queue_is_empty(&visit->heard)) {
		int64_t left_ms = timeout_ms < 0 ? -1 : MAX(until - clock_now_ms(), 0);
		if (!read_some(visit, (int) left_ms, error))
			return NULL;
	}
	return g_queue_pop_head(&visit->heard);
}

JsonObject *visit_ask(struct visit *visit, JsonObject *message, GError **error)
{
	if (!visit_say(visit, message, error))
		return NULL;
	JsonObject *answer = visit_hear(visit, ANSWER_MS, error);
	if (!answer && error && !*error)
		error_set(error, WATARI_ERROR_INTERNAL, NULL, _("the move has just ended"));
	return answer;
}

/* ---- which moves there are ---- */

void visit_move_free(struct visit_move *move)
{
	if (!move)
		return;
	journal_move_free(move->move);
	if (move->live)
		json_object_unref(move->live);
	g_free(move);
}

/* One that has just ended may still be without its end in what was read of the journal. */
static struct visit_move *look(const char *directory, struct journal_move *move)
{
	struct visit_move *found = g_new0(struct visit_move, 1);
	found->move = move;
	found->state = VISIT_ENDED;
	if (move->outcome)
		return found;
	struct visit *visit = visit_open(directory, move->id, NULL);
	if (visit)
		found->live = visit_ask(visit, visit_message("status"), NULL);
	visit_close(visit);
	found->state = found->live             ? VISIT_RUNNING
		       : conductor_lives(move) ? VISIT_SILENT
					       : VISIT_BROKEN;
	return found;
}

GPtrArray *visit_list(const char *directory, const char *vm, int most, GError **error)
{
	GPtrArray *found =
		g_ptr_array_new_with_free_func((GDestroyNotify) (void (*)(void)) visit_move_free);
	struct journal *journal = journal_open_existing(directory, error);
	if (!journal)
		return found;
	g_autoptr(GPtrArray) moves = journal_list(journal, vm, most, error);
	journal_close(journal);
	while (moves->len > 0)
		g_ptr_array_add(found, look(directory, g_ptr_array_steal_index(moves, 0)));
	return found;
}

static struct visit_move *not_found(const char *vm, const struct visit_move *newest, GError **error)
{
	if (!newest)
		error_set(error, WATARI_ERROR_REFUSED,
			  _("Moves are known where they were started, to the user who started "
			    "them: see “watari status” there."),
			  _("the journal on this machine knows no move of “%s”"), vm);
	else if (newest->state == VISIT_SILENT)
		error_set(error, WATARI_ERROR_REFUSED,
			  _("It may just be starting or ending; try again in a moment."),
			  _("the move of %s runs, by process %d, and does not answer"), vm,
			  (int) newest->move->pid);
	else if (newest->state == VISIT_BROKEN)
		error_set(error, WATARI_ERROR_REFUSED,
			  _("“watari resolve” finds the VM and ends the move right."),
			  _("the move of %s was broken off: its program is gone"), vm);
	else
		error_set(error, WATARI_ERROR_REFUSED, _("“watari status” tells how it ended."),
			  _("no move of %s is running"), vm);
	return NULL;
}

struct visit_move *visit_find(const char *directory, const char *vm, GError **error)
{
	g_autoptr(GError) own = NULL;
	g_autoptr(GPtrArray) moves = visit_list(directory, vm, RUNNING_MOST, &own);
	struct visit_move *running = NULL;
	for (guint i = 0; i < moves->len; i++) {
		struct visit_move *move = moves->pdata[i];
		if (move->state != VISIT_RUNNING)
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
			visit_move_free(moves->pdata[i]);
	return running;
}
