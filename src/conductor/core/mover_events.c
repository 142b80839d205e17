/* SPDX-License-Identifier: Apache-2.0 */
/* What movers say unasked: numbers five times a second, and events. */
#include "conductor/core/mover_events.h"

#include "conductor/core/movers.h"
#include "conductor/core/part.h"
#include "conductor/core/stage.h"
#include "conductor/core/advice.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/json.h"
#include "control/messages.h"

/* Five times a second; half of it is left after 1.3 s. */
static const double wire_rate_kept = 0.9;
static const double stream_rate_weight = 0.2;

/* ---- numbers ---- */

static void copy_lanes(struct move_report *report, JsonArray *lanes)
{
	report->connections = (int) json_array_get_length(lanes);
	g_free(report->lane_bytes);
	report->lane_bytes = g_new0(uint64_t, (gsize) report->connections + 1);
	for (int i = 0; i < report->connections; i++)
		report->lane_bytes[i] = (uint64_t) json_array_get_int_element(lanes, (guint) i);
}

/* The rate of a busy wire: the most seen of late. */
static void learn_wire_rate(struct move *move, uint64_t sent, int64_t now_us)
{
	double elapsed_s = (double) (now_us - move->wire_seen_us) / 1e6;
	double fallen = move->link.wire_rate * wire_rate_kept;
	if (move->wire_seen_us && elapsed_s > 0.05 && sent >= move->wire_seen)
		move->link.wire_rate = MAX(fallen, (double) (sent - move->wire_seen) / elapsed_s);
	move->wire_seen = sent;
	move->wire_seen_us = now_us;
}

/* What QEMU's stream itself goes through at: pages before they are packed. */
static void learn_stream_rate(struct move *move, uint64_t bytes, int64_t now_us)
{
	double elapsed_s = (double) (now_us - move->stream_seen_us) / 1e6;
	double *rate = &move->link.stream_rate;
	if (move->stream_seen_us && elapsed_s > 0.05 && bytes >= move->stream_seen) {
		double now = (double) (bytes - move->stream_seen) / elapsed_s;
		*rate = *rate > 0 ? *rate + (now - *rate) * stream_rate_weight : now;
	}
	move->stream_seen = bytes;
	move->stream_seen_us = now_us;
}

static void copy_source_stats(struct move *move, JsonObject *stats)
{
	struct move_report *report = move->report;
	struct move_progress *progress = &move->progress;
	JsonObject *pages = json_get_object(stats, "pages");
	JsonArray *lanes = json_get_array(stats, "lanes");
	const char *opaque = json_get_string(stats, "opaque", NULL);
	report->stream_bytes = (uint64_t) json_get_int(stats, "bytes", 0);
	report->wire_sent = move->wire_before + (uint64_t) json_get_int(stats, "wire_sent", 0);
	report->wire_received = (uint64_t) json_get_int(stats, "wire_received", 0);
	report->iterations = (int) json_get_int(stats, "iterations", 0);
	report->round_trip_us = json_get_int(stats, "round_trip_us", 0);
	report->reconnects = json_get_int(stats, "reconnects", 0);
	if (pages) {
		report->pages_normal = (uint64_t) json_get_int(pages, "normal", 0);
		report->pages_zero = (uint64_t) json_get_int(pages, "zero", 0);
	}
	if (lanes)
		copy_lanes(report, lanes);
	JsonObject *requests = json_get_object(stats, "postcopy");
	if (requests) {
		g_clear_pointer(&report->page_requests, json_object_unref);
		report->page_requests = json_object_ref(requests);
	}
	if (opaque && !report->opaque)
		report->opaque = g_strdup(opaque);
	progress->bytes = report->stream_bytes;
	progress->wire_bytes = report->wire_sent + report->wire_received;
	progress->rate = (double) json_get_int(stats, "rate", 0);
	progress->iteration = report->iterations;
	learn_wire_rate(move, report->wire_sent, json_get_int(stats, "clock_us", 0));
	learn_stream_rate(move, report->stream_bytes, json_get_int(stats, "clock_us", 0));
	move->link.rate = progress->rate;
	move->link.in_flight = (uint64_t) json_get_int(stats, "in_flight", 0) +
			       (uint64_t) json_get_int(stats, "in_hand", 0);
	double share = json_get_double(stats, "share", 0);
	move->link.carried = share > 0 ? progress->rate / share : 0;
	move->link.round_trip_us = report->round_trip_us;
	move_disks_take_stats(report->disks, json_get_array(stats, "disks"));
	if (move->released && !move->postcopy && json_object_has_member(stats, "stopped_ms"))
		report->stop_to_release_ms = json_get_int(stats, "stopped_ms", -1);
}

static void copy_stats(struct move *move, enum move_side side, JsonObject *stats)
{
	struct move_report_side *report = &move->report->sides[side];
	report->mover_rss_kib = json_get_int(stats, "rss_kib", report->mover_rss_kib);
	report->mover_cpu_ms = json_get_int(stats, "cpu_ms", report->mover_cpu_ms);
	JsonObject *content = json_get_object(stats, "content");
	if (content) {
		g_clear_pointer(&report->content, json_object_unref);
		report->content = json_object_ref(content);
	}
	move->lanes_up = (int) json_get_int(stats, "lanes_up", move->lanes_up);
	if (side != MOVE_SOURCE)
		return;
	copy_source_stats(move, stats);
	move_show_progress(move);
}

/* ---- events ---- */

static void on_stopped(struct move *move, JsonObject *event)
{
	move->stopped = true;
	move->stopped_us = clock_now_us();
	move_say(move, _("the VM is stopped; sending the rest"));
}

/* Nothing may be done before it: the VM stands still. */
static void on_ask_awake(struct move *move, JsonObject *event)
{
	JsonObject *answer = dialogue_message(MESSAGE_AWAKE);
	json_object_set_int_member(answer, "n", json_get_int(event, "n", 0));
	movers_tell(move, MOVE_SOURCE, answer);
}

static void on_loaded(struct move *move, JsonObject *event)
{
	move->loaded = true;
	move_say(move, _("everything is there; proving that it is the same"));
}

static void on_agreed(struct move *move, JsonObject *event)
{
	move->report->stream_agreed = true;
	g_free(move->report->stream_tag);
	move->report->stream_tag = g_strdup(json_get_string(event, "tag", NULL));
}

static void on_verified(struct move *move, JsonObject *event)
{
	struct move_report *report = move->report;
	JsonArray *skipped = json_get_array(event, "skipped");
	g_autoptr(GStrvBuilder) names = g_strv_builder_new();
	for (guint i = 0; skipped && i < json_array_get_length(skipped); i++) {
		JsonNode *node = json_array_get_element(skipped, i);
		if (JSON_NODE_HOLDS_VALUE(node) && json_node_get_string(node))
			g_strv_builder_add(names, json_node_get_string(node));
	}
	g_free(report->memory_proof);
	g_strfreev(report->memory_skipped);
	report->memory_proof = g_strdup(json_get_string(event, "mode", "none"));
	report->memory_skipped = g_strv_builder_end(names);
	report->memory_pages = (uint64_t) json_get_int(event, "pages", 0);
	report->memory_bytes = (uint64_t) json_get_int(event, "bytes", 0);
}

static void on_released(struct move *move, JsonObject *event)
{
	move->released = true;
	move->released_us = clock_now_us();
	if (move->report->stop_to_release_ms < 0 && move->stopped && !move->postcopy)
		move->report->stop_to_release_ms = (move->released_us - move->stopped_us) / 1000;
	move_say(move, _("handing over"));
}

/* The guest runs there already: it is only told. */
static void on_disagreed(struct move *move, JsonObject *event)
{
	move_note(move, true, _("The movers do not agree on what was sent: %s"),
		  json_get_string(event, "reason", "?"));
}

static void on_refused(struct move *move, JsonObject *event)
{
	const char *code = json_get_string(event, "code", "");
	advice_take_code(move, code);
	if (!move->mover_reason)
		move->mover_reason = g_strdup(json_get_string(event, "reason", NULL));
}

static void on_disk_agreed(struct move *move, JsonObject *event)
{
	move_disks_take_digest(move->report->disks, event);
}

static void on_disk_verified(struct move *move, JsonObject *event)
{
	move_disks_take_proof(move->report->disks, event);
}

/* Only slower, not worse. */
static void on_seed_unusable(struct move *move, JsonObject *event)
{
	move_note(move, true, _("The seed %s is of no use: %s"),
		  json_get_string(event, "path", "?"), json_get_string(event, "reason", "?"));
}

static void on_link_lost(struct move *move, JsonObject *event)
{
	move_say(move, _("the link is broken; connecting again"));
	move_note(move, false, "%s", _("The link is broken; connecting again."));
}

static void on_link_back(struct move *move, JsonObject *event)
{
	move_say(move, move->progress.disk_total ? _("copying disks") : _("copying memory"));
	move_note(move, false, "%s", _("The link is back."));
}

/* What a mover may say, beside what parts want to hear of. One that is not only told is handled when the source's says
 * it, where only that one can know. */
static const struct part_event events[] = {
	{ EVENT_CONNECTED, true, NULL },
	{ EVENT_PASS_END, true, NULL },
	{ EVENT_OPAQUE, true, NULL },
	{ EVENT_STOPPED, true, on_stopped },
	{ EVENT_DISAGREED, true, on_disagreed },
	{ EVENT_LOADED, true, on_loaded },
	{ EVENT_ASK_AWAKE, true, on_ask_awake },
	{ EVENT_AGREEING, true, NULL },
	{ EVENT_AGREED, true, on_agreed },
	{ EVENT_VERIFIED, true, on_verified },
	{ EVENT_RELEASED, true, on_released },
	{ EVENT_REFUSED, false, on_refused },
	{ EVENT_DISK_AGREED, true, on_disk_agreed },
	{ EVENT_DISK_VERIFIED, false, on_disk_verified },
	{ EVENT_SEED_UNUSABLE, false, on_seed_unusable },
	{ EVENT_LINK_LOST, true, on_link_lost },
	{ EVENT_LINK_BACK, true, on_link_back },
};

/* A name of its own: the journal's other kinds are what the conductor itself has done, and decide what
 * becomes of the VM. A mover that never stops talking does not fill it. */
static void note_event(struct move *move, enum move_side side, const char *what)
{
	enum { NOTED_MOST = 2000 };
	if (move->events_noted++ >= NOTED_MOST)
		return;
	g_autofree char *kind = g_strconcat("mover-", what, NULL);
	journal_note_event(move->journal, move->report->id, kind,
			   side == MOVE_SOURCE ? "source" : "destination");
}

/* What nobody knows comes from a later version, or from somebody who is no mover of ours. */
static void handle_event(struct move *move, enum move_side side, JsonObject *event)
{
	const char *what = json_get_string(event, EVENT_WHAT, "");
	bool known = false;
	for (size_t i = 0; i < G_N_ELEMENTS(events); i++) {
		if (!g_str_equal(what, events[i].what))
			continue;
		known = true;
		if (events[i].handle && (!events[i].source_only || side == MOVE_SOURCE))
			events[i].handle(move, event);
	}
	if (parts_handle(move, side, what, event) || known)
		note_event(move, side, what);
}

static enum move_side side_of(struct move *move, struct dialogue *dialogue)
{
	return dialogue == move->movers[MOVE_SOURCE] ? MOVE_SOURCE : MOVE_DESTINATION;
}

void mover_events_heard(struct dialogue *dialogue, const char *type, JsonObject *message,
			void *data)
{
	struct move *move = data;
	enum move_side side = side_of(move, dialogue);
	bool ending = g_str_equal(type, MESSAGE_DONE);
	if (ending || g_str_equal(type, MESSAGE_STATS))
		copy_stats(move, side, message);
	if (g_str_equal(type, MESSAGE_EVENT))
		handle_event(move, side, message);
	if ((ending || g_str_equal(type, MESSAGE_ERROR)) &&
	    !g_str_equal(json_get_string(message, "outcome", ""), "handed-over"))
		on_refused(move, message);
}
