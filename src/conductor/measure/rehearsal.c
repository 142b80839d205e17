/* SPDX-License-Identifier: Apache-2.0 */
/* What is seen while a rehearsal runs, and how it ends. */
#include "conductor/measure/rehearsal.h"
#include "conductor/core/part.h"

#include "conductor/measure/prediction.h"
#include "conductor/disks/seeds.h"
#include "conductor/core/movers.h"
#include "conductor/core/ssh_link.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/json.h"
#include "control/messages.h"

enum {
	DISK_BYTES = 256 << 20,
	DISK_MS = 10 * 1000,
	HELD_MS = 2000, /* after that a mover that was told to hold the disks has nothing to hold */
	TELLING = 8 << 20, /* less of the disks than that says nothing of their rate */
};

/* Of what is permitted disks take half at most, and memory the rest. */
static void describe_setup(struct move *move, JsonObject *setup)
{
	const struct move_request *request = move->request;
	double spent = move->rehearsal ? move->rehearsal->disks.wire_bytes : 0;
	uint64_t most = request->max_traffic, disks = request->max_disk;
	if (request->kind != MOVE_REHEARSAL)
		return;
	json_object_set_boolean_member(setup, "rehearse", TRUE);
	json_object_set_int_member(setup, "rehearse_disk_bytes",
				   (gint64) (disks ? disks : DISK_BYTES));
	json_object_set_int_member(setup, "rehearse_disk_wire", (gint64) most / 2);
	json_object_set_int_member(setup, "rehearse_bytes",
				   most ? (gint64) MAX(most - MIN((uint64_t) spent, most), 1) : 0);
}

/* For the first time, or for memory alone. */
static void begin(struct move *move)
{
	struct rehearsal_disks disks = { 0 };
	if (move->request->kind != MOVE_REHEARSAL)
		return;
	if (move->rehearsal)
		disks = move->rehearsal->disks;
	g_free(move->rehearsal);
	move->rehearsal = g_new0(struct rehearsal, 1);
	move->rehearsal->disks = disks;
	move->rehearsal->begin_us = clock_now_us();
}

/* ---- what the movers say ---- */

static void note_first(struct rehearsal *rehearsal)
{
	if (!rehearsal->first_us)
		rehearsal->first_us = clock_now_us();
}

static void on_rehearsal_connected(struct move *move, JsonObject *event)
{
	if (!move->rehearsal)
		return;
	note_first(move->rehearsal);
	move->rehearsal->connected_us = clock_now_us();
}

static void on_disk_open(struct move *move, JsonObject *event)
{
	if (!move->rehearsal || move->rehearsal->disks.open_us)
		return;
	note_first(move->rehearsal);
	move->rehearsal->disks.open_us = clock_now_us();
	move->rehearsal->disks.wire_before = move->report->wire_sent;
}

static void on_disks_held(struct move *move, JsonObject *event)
{
	if (!move->rehearsal || move->rehearsal->disks.over)
		return;
	struct rehearsal_disks *disks = &move->rehearsal->disks;
	disks->over = true;
	disks->whole = json_get_bool(event, "whole", false);
	disks->bytes = json_get_double(event, "bytes", 0);
	disks->wire_bytes = json_get_double(event, "wire", 0);
	disks->ms = json_get_double(event, "ms", 0);
}

static void on_held(struct move *move, JsonObject *event)
{
	struct rehearsal *rehearsal = move->rehearsal;
	if (!rehearsal)
		return;
	rehearsal->held = true;
	rehearsal->normal = json_get_double(event, "normal", 0);
	rehearsal->zero = json_get_double(event, "zero", 0);
	rehearsal->left = json_get_double(event, "left", 0);
	rehearsal->ms = json_get_double(event, "ms", 0);
	rehearsal->wire_bytes = json_get_double(event, "wire", 0);
}

/* ---- the disks' bounds ---- */

static int64_t disks_most_ms(const struct move_request *request)
{
	int64_t most_ms = request->max_disk ? INT64_MAX : DISK_MS;
	return request->max_time_ms ? MIN(most_ms, request->max_time_ms / 2) : most_ms;
}

/* Nothing is written any more, or what is comes too slowly: the numbers are those that were heard last. */
static void take_stats(struct move *move, int64_t now_us)
{
	struct rehearsal_disks *disks = &move->rehearsal->disks;
	GPtrArray *all = move->report->disks;
	disks->over = true;
	disks->ms = (double) (now_us - disks->open_us) / 1e3;
	disks->wire_bytes = (double) (move->report->wire_sent - disks->wire_before);
	for (guint i = 0; i < all->len; i++)
		disks->bytes += (double) ((const struct move_disk *) all->pdata[i])->written;
}

static void hold_disks(struct move *move)
{
	struct rehearsal_disks *disks = &move->rehearsal->disks;
	int64_t now_us = clock_now_us();
	if (!disks->open_us || disks->over || move->rehearsal->connected_us || move->mover_reason ||
	    (now_us - disks->open_us) / 1000 < disks_most_ms(move->request))
		return;
	if (disks->asked_us && now_us - disks->asked_us >= HELD_MS * 1000) {
		take_stats(move, now_us);
	} else if (!disks->asked_us) {
		JsonObject *message = dialogue_message(MESSAGE_DWELL);
		json_object_set_boolean_member(message, "disks", TRUE);
		movers_tell(move, MOVE_SOURCE, message);
		disks->asked_us = now_us;
	}
}

/* ---- the end ---- */

/* The time is over: what has been copied by now has to do. In a migration of its own memory has what the
 * disks left of it. */
static void hold_now(struct move *move)
{
	const struct rehearsal *rehearsal = move->rehearsal;
	int64_t most_ms = move->request->max_time_ms;
	int64_t now_us = clock_now_us();
	if (most_ms && !move->disks_socket)
		most_ms -= MIN((int64_t) rehearsal->disks.ms, most_ms / 2);
	if (!most_ms || rehearsal->asked || !rehearsal->connected_us ||
	    now_us - rehearsal->begin_us < most_ms * 1000)
		return;
	move->rehearsal->asked = true;
	movers_tell(move, MOVE_SOURCE, dialogue_message(MESSAGE_DWELL));
}

/* What went wrong before is no part of it. */
static bool are_disks_enough(struct move *move)
{
	struct rehearsal_disks *disks = &move->rehearsal->disks;
	disks->enough |= disks->over && !disks->whole && !move->mover_reason;
	return move->disks_socket && disks->enough;
}

static const char *reason_to_end(struct move *move)
{
	if (!move->rehearsal)
		return NULL;
	hold_disks(move);
	hold_now(move);
	bool over = are_disks_enough(move) || move->rehearsal->held;
	return over ? _("the rehearsal is over") : NULL;
}

bool rehearsal_wants_memory(struct move *move)
{
	const struct rehearsal *rehearsal = move->rehearsal;
	return rehearsal && move->disks_socket && rehearsal->disks.enough && !rehearsal->held &&
	       !move->cancelled && !move->stopped && !move->still;
}

bool rehearsal_renew(struct move *move, GError **error)
{
	movers_let_go(move);
	movers_end(move);
	g_clear_pointer(&move->ssh_link, ssh_link_free);
	g_clear_pointer(&move->mover_reason, g_free);
	g_clear_pointer(&move->disks_socket, g_free);
	move->wire_before = move->report->wire_sent;
	move->progress.disk_total = move->progress.disk_done = 0;
	journal_note_event(move->journal, move->report->id, "disks-rehearsed", NULL);
	if (!phase_link(move, error) || !seeds_tell(move, error))
		return false;
	move_say(move, _("copying memory"));
	return true;
}

bool rehearsal_judge(struct move *move, GError **error)
{
	if (!move->rehearsal->held || move->cancelled)
		return false;
	if (move->stopped || move->still)
		return error_set(error, WATARI_ERROR_FAILED, NULL,
				 _("the VM was stopped for a moment in its rehearsal"));
	return true;
}

static double setup_ms(const struct rehearsal *rehearsal)
{
	return (double) (rehearsal->first_us - rehearsal->begin_us) / 1e3;
}

static JsonObject *describe_disks(const struct rehearsal_disks *disks)
{
	JsonObject *object = json_object_new();
	json_object_set_double_member(object, "bytes", disks->bytes);
	json_object_set_double_member(object, "wire_bytes", disks->wire_bytes);
	json_object_set_double_member(object, "ms", disks->ms);
	json_object_set_boolean_member(object, "whole", disks->whole);
	return object;
}

JsonObject *rehearsal_describe(const struct rehearsal *rehearsal)
{
	if (!rehearsal || !rehearsal->held)
		return NULL;
	JsonObject *object = json_object_new();
	json_object_set_double_member(object, "setup_ms", setup_ms(rehearsal));
	json_object_set_double_member(object, "copy_ms", rehearsal->ms);
	json_object_set_double_member(object, "pages", rehearsal->normal);
	json_object_set_double_member(object, "zero_pages", rehearsal->zero);
	json_object_set_double_member(object, "left_pages", rehearsal->left);
	json_object_set_double_member(object, "wire_bytes", rehearsal->wire_bytes);
	if (rehearsal->disks.over)
		json_object_set_object_member(object, "disks", describe_disks(&rehearsal->disks));
	else
		json_object_set_null_member(object, "disks");
	return object;
}

/* ---- what it teaches ---- */

static void teach_disks(const struct rehearsal_disks *disks, struct plan_facts *facts)
{
	if (disks->bytes < TELLING || disks->ms < 1)
		return;
	facts->disk_rate = disks->bytes / disks->ms * 1e3;
	facts->disk_share = disks->wire_bytes / disks->bytes;
}

bool phase_rehearsed(struct move *move, GError **error)
{
	const struct rehearsal *rehearsal = move->rehearsal;
	if (!move->prediction || rehearsal->normal < 1)
		return true;
	struct plan_facts *facts = &move->prediction->facts;
	teach_disks(&rehearsal->disks, facts);
	facts->setup_ms = setup_ms(rehearsal);
	facts->page_s = rehearsal->ms / 1e3 / rehearsal->normal;
	facts->page_bytes = rehearsal->wire_bytes / rehearsal->normal;
	facts->data_pages = rehearsal->normal + rehearsal->left;
	prediction_look(move);
	g_autoptr(JsonObject) object = plan_facts_describe(facts);
	g_autofree char *text = json_print_object(object);
	journal_note_event(move->journal, move->report->id, "rehearsal", text);
	move->report->rehearsal = rehearsal_describe(rehearsal);
	g_clear_pointer(&move->report->forecast, json_object_unref);
	move->report->forecast = prediction_describe(move->prediction);
	return true;
}

static const struct part_event events[] = {
	{ EVENT_CONNECTED, true, on_rehearsal_connected },
	{ EVENT_DWELLING, true, on_held },
	{ EVENT_DISK_OPEN, false, on_disk_open },
	{ EVENT_DISKS_DWELLING, true, on_disks_held },
	{ 0 },
};

static void clear(struct move *move)
{
	g_clear_pointer(&move->rehearsal, g_free);
}

const struct part rehearsal_part = {
	.name = "rehearsal",
	.events = events,
	.describe_setup = describe_setup,
	.begin = begin,
	.reason = reason_to_end,
	.clear = clear,
};
