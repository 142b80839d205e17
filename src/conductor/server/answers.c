/* SPDX-License-Identifier: Apache-2.0 */
/* Answers other programs about this move. */
#include "conductor/server/answers.h"
#include "conductor/core/part.h"

#include "conductor/server/server.h"
#include "conductor/server/socket_place.h"
#include "conductor/core/hand_over.h"
#include "conductor/core/movers.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/json.h"
#include "control/messages.h"

#include <math.h>

enum { PROTOCOL = 1, SHOW_MS = 200 };

/* ---- how it is ---- */

static void add_progress(JsonObject *object, const struct move_progress *progress)
{
	const struct {
		const char *name;
		int64_t number;
	} numbers[] = {
		{ "bytes", (int64_t) progress->bytes },
		{ "wire_bytes", (int64_t) progress->wire_bytes },
		{ "rate", llrint(progress->rate) },
		{ "remaining", (int64_t) progress->remaining },
		{ "total", (int64_t) progress->total },
		{ "disk_done", (int64_t) progress->disk_done },
		{ "disk_total", (int64_t) progress->disk_total },
		{ "iteration", progress->iteration },
		{ "dirty_rate", llrint(progress->dirty_rate) },
		{ "left_ms", progress->left_ms },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
		json_object_set_int_member(object, numbers[i].name, numbers[i].number);
}

static JsonObject *describe_progress(struct move *move)
{
	JsonObject *object = json_object_new(), *vm = json_object_new();
	const struct move_report *report = move->report;
	json_object_set_string_member(object, "t", "status");
	json_object_set_string_member(object, "id", report->id);
	json_set_text(vm, "name", report->vm_name);
	json_set_text(vm, "uuid", report->vm_uuid);
	json_object_set_object_member(object, "vm", vm);
	json_object_set_string_member(object, "kind", move_kind_name(report->kind));
	json_set_text(object, "phase", move->progress.phase);
	json_set_text(object, "doing", move->progress.doing);
	json_object_set_boolean_member(object, "cancelling", move->cancelled);
	json_object_set_boolean_member(object, "stopped", move->stopped || move->still);
	json_object_set_int_member(object, "elapsed_ms",
				   (clock_now_us() - move->started_us) / 1000);
	const struct move_progress shown = move_shown_progress(move);
	add_progress(object, &shown);
	json_object_set_object_member(object, "limits", limits_describe(&move->limits));
	return object;
}

static void show(struct move *move)
{
	int64_t now_ms = clock_now_ms();
	bool fresh = move->progress.doing != move->shown_doing;
	if (!server_is_followed(move->server) || (!fresh && now_ms - move->shown_ms < SHOW_MS))
		return;
	move->shown_ms = now_ms;
	move->shown_doing = move->progress.doing;
	server_tell(move->server, describe_progress(move), false);
}

/* ---- what is asked ---- */

static JsonObject *answer(bool good, const char *what, const char *next)
{
	JsonObject *object = json_object_new();
	json_object_set_string_member(object, "t", "answer");
	json_object_set_boolean_member(object, "good", good);
	json_set_text(object, "what", what);
	json_set_text(object, "next", next);
	return object;
}

static void answer_error(struct server_client *client, const GError *error)
{
	g_autofree char *what = error_what(error), *next = error_next(error);
	server_answer(client, answer(false, what, next));
}

static void do_status(struct move *move, struct server_client *client, JsonObject *request)
{
	server_answer(client, describe_progress(move));
}

static void do_watch(struct move *move, struct server_client *client, JsonObject *request)
{
	server_follow(client);
	server_answer(client, describe_progress(move));
}

static void do_cancel(struct move *move, struct server_client *client, JsonObject *request)
{
	const char *what = NULL;
	bool good = move_cancel(move, &what);
	server_answer(client, answer(good, what, NULL));
}

/* Both movers: the destination's one sends page requests and answers, and watches the link too. */
static void tell_movers(struct move *move, const struct limits_wish *wish)
{
	for (int side = 0; side < MOVE_SIDES; side++) {
		JsonObject *message = dialogue_message(MESSAGE_LIMITS);
		if (wish->has_bandwidth)
			json_object_set_int_member(message, "bandwidth", (gint64) wish->bandwidth);
		json_object_set_int_member(message, "stop_limit_ms",
					   movers_stop_limit_ms(&move->limits));
		if (wish->has_link_timeout)
			json_object_set_int_member(message, "link_timeout_ms",
						   wish->link_timeout_ms);
		movers_tell(move, side, message);
	}
}

static void do_tune(struct move *move, struct server_client *client, JsonObject *request)
{
	struct limits_wish wish;
	g_autoptr(GError) error = NULL;
	bool linked = move->linked && !move->released;
	if (linked ? !limits_parse(request, &wish, &error) ||
			     !limits_apply(&move->limits, &wish, &error)
		   : !error_set(&error, WATARI_ERROR_REFUSED, _("Try again in a moment."),
				_("the movers are not connected at this moment"))) {
		answer_error(client, error);
		return;
	}
	struct move_limits *limits = &move->limits;
	limits->hand_over_ms = MAX(limits->hand_over_ms, hand_over_late_ms(limits->bandwidth));
	limits->hand_over_ms = MIN(limits->hand_over_ms, limits->ceiling_ms * 3 / 4);
	tell_movers(move, &wish);
	g_autoptr(JsonObject) now = limits_describe(limits);
	g_autofree char *text = json_print_object(now);
	journal_note_event(move->journal, move->report->id, "tuned", text);
	move_note(move, false, "%s",
		  _("The limits of this move were changed from another terminal."));
	JsonObject *done = answer(true, _("the limits are changed"), NULL);
	json_object_set_object_member(done, "limits", g_steal_pointer(&now));
	server_answer(client, done);
}

static const struct {
	const char *type;
	void (*handle)(struct move *move, struct server_client *client, JsonObject *request);
} requests[] = {
	{ "status", do_status },
	{ "watch", do_watch },
	{ "cancel", do_cancel },
	{ "tune", do_tune },
};

static void asked(struct server_client *client, const char *type, JsonObject *request, void *data)
{
	for (size_t i = 0; i < G_N_ELEMENTS(requests); i++)
		if (g_str_equal(type, requests[i].type)) {
			requests[i].handle(data, client, request);
			return;
		}
	server_answer(client, answer(false, _("a request of an unknown kind"), NULL));
}

/* ---- open and closed ---- */

void answers_open(struct move *move)
{
	g_autofree char *directory = server_directory(NULL);
	g_autoptr(GError) error = NULL;
	if (directory)
		server_sweep(directory);
	move->server = server_open(directory, move->report->id, asked, move, &error);
	if (!move->server)
		move_note(move, false,
			  _("This move cannot be watched or cancelled from another terminal: "
			    "%s"),
			  error->message);
}

void answers_close(struct move *move, const GError *error)
{
	const struct move_report *report = move->report;
	JsonObject *ended = json_object_new();
	json_object_set_string_member(ended, "t", "ended");
	json_object_set_string_member(ended, "outcome", move_outcome_name(report->outcome));
	json_object_set_int_member(ended, "exit_code", error ? (gint64) error_exit_code(error) : 0);
	json_object_set_int_member(ended, "total_ms", report->total_ms);
	json_object_set_int_member(ended, "downtime_ms", report->downtime_ms);
	if (error)
		json_object_set_object_member(ended, "error", json_describe_error(error));
	server_tell(move->server, ended, true);
	server_close(g_steal_pointer(&move->server));
}

const struct part answers_part = { .name = "answers", .shown = show };
