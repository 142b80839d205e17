/* SPDX-License-Identifier: Apache-2.0 */
/* The closing report as a value, and as JSON. */
#include "conductor/core/report.h"

#include "base/json.h"
#include "base/version.h"

#include <time.h>

static const char *const outcome_names[] = {
	[MOVE_REFUSED] = "refused",     [MOVE_MIGRATED] = "migrated",   [MOVE_FAILED] = "failed",
	[MOVE_CANCELLED] = "cancelled", [MOVE_ATTENTION] = "attention", [MOVE_PLANNED] = "planned",
	[MOVE_REHEARSED] = "rehearsed",
};
_Static_assert(G_N_ELEMENTS(outcome_names) == MOVE_OUTCOME_LAST, "every outcome has a name");

static const char *const kind_names[] = {
	[MOVE_LIVE] = "live", [MOVE_OFFLINE] = "offline",     [MOVE_QUICK] = "quick",
	[MOVE_PLAN] = "plan", [MOVE_REHEARSAL] = "rehearsal",
};
_Static_assert(G_N_ELEMENTS(kind_names) == MOVE_KIND_LAST, "every kind has a name");

const char *move_kind_name(enum move_kind kind)
{
	return kind_names[kind];
}

const char *move_outcome_name(enum move_outcome outcome)
{
	return outcome_names[outcome];
}

void move_report_init(struct move_report *report)
{
	*report = (struct move_report){
		.outcome = MOVE_REFUSED,
		.started_s = time(NULL),
		.downtime_ms = -1,
		.stop_to_release_ms = -1,
		.libvirt_downtime_ms = -1,
		.broken_off_ms = -1,
	};
	report->notes = g_ptr_array_new_with_free_func(g_free);
	for (int side = 0; side < MOVE_SIDES; side++)
		report->sides[side].vm_state = g_strdup("unknown");
}

void move_report_clear(struct move_report *report)
{
	for (int side = 0; side < MOVE_SIDES; side++) {
		g_free(report->sides[side].address);
		g_free(report->sides[side].host);
		g_free(report->sides[side].vm_state);
		g_clear_pointer(&report->sides[side].content, json_object_unref);
	}
	char *const texts[] = { report->vm_name,      report->vm_uuid,    report->failed_phase,
				report->opaque,       report->link,       report->stream_tag,
				report->memory_proof, report->state_path, report->state_digest };
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	g_free(report->lane_bytes);
	g_clear_pointer(&report->phases_ms, json_object_unref);
	g_clear_pointer(&report->limits, json_array_unref);
	g_clear_pointer(&report->carried, json_array_unref);
	g_clear_pointer(&report->compared, json_array_unref);
	g_clear_pointer(&report->parts, json_object_unref);
	g_clear_pointer(&report->files, json_array_unref);
	g_clear_pointer(&report->page_requests, json_object_unref);
	g_clear_pointer(&report->decisions, json_array_unref);
	g_strfreev(report->memory_skipped);
	g_clear_pointer(&report->disks, g_ptr_array_unref);
	g_clear_pointer(&report->findings, g_ptr_array_unref);
	g_clear_pointer(&report->notes, g_ptr_array_unref);
	g_clear_pointer(&report->forecast, json_object_unref);
	g_clear_pointer(&report->preconditions, json_object_unref);
	g_clear_pointer(&report->rehearsal, json_object_unref);
	*report = (struct move_report){ 0 };
}

/* ---- as JSON ---- */

enum { FORMAT = 1 };

/* Negative: not known. */
static void set_number(JsonObject *object, const char *name, int64_t number)
{
	if (number >= 0)
		json_object_set_int_member(object, name, number);
	else
		json_object_set_null_member(object, name);
}

static JsonObject *describe_side(const struct move_report_side *side)
{
	JsonObject *object = json_object_new(), *mover = json_object_new();
	json_set_text(object, "address", side->address);
	json_set_text(object, "host", side->host);
	json_set_text(object, "vm_state", side->vm_state);
	set_number(mover, "rss_kib", side->mover_rss_kib);
	set_number(mover, "cpu_ms", side->mover_cpu_ms);
	/* as the mover says it: its fields are its own */
	if (side->content)
		json_object_set_object_member(mover, "content", json_object_ref(side->content));
	else
		json_object_set_null_member(mover, "content");
	json_object_set_object_member(object, "mover", mover);
	return object;
}

static JsonObject *describe_times(const struct move_report *report)
{
	JsonObject *object = json_object_new();
	g_autoptr(GDateTime) started = g_date_time_new_from_unix_utc(report->started_s);
	g_autofree char *text = g_date_time_format_iso8601(started);
	json_set_text(object, "started", text);
	set_number(object, "total_ms", report->total_ms);
	set_number(object, "migration_ms", report->migration_ms);
	set_number(object, "downtime_ms", report->downtime_ms);
	set_number(object, "stop_to_release_ms", report->stop_to_release_ms);
	set_number(object, "libvirt_downtime_ms", report->libvirt_downtime_ms);
	json_object_set_object_member(object, "phases_ms",
				      report->phases_ms ? json_object_ref(report->phases_ms)
							: json_object_new());
	return object;
}

static JsonObject *describe_bytes(const struct move_report *report)
{
	JsonObject *object = json_object_new();
	set_number(object, "stream", (int64_t) report->stream_bytes);
	set_number(object, "wire_sent", (int64_t) report->wire_sent);
	set_number(object, "wire_received", (int64_t) report->wire_received);
	if (report->stream_bytes > 0 && report->wire_sent > 0)
		json_object_set_double_member(object, "ratio",
					      (double) report->stream_bytes /
						      (double) report->wire_sent);
	else
		json_object_set_null_member(object, "ratio");
	set_number(object, "pages_normal", (int64_t) report->pages_normal);
	set_number(object, "pages_zero", (int64_t) report->pages_zero);
	set_number(object, "iterations", report->iterations);
	json_set_text(object, "opaque", report->opaque);
	return object;
}

static JsonObject *describe_convergence(const struct move_report *report)
{
	JsonObject *object = json_object_new();
	set_number(object, "limit_ms", report->limit_ms > 0 ? report->limit_ms : -1);
	json_object_set_array_member(object, "changes",
				     report->limits ? json_array_ref(report->limits)
						    : json_array_new());
	json_object_set_array_member(object, "decisions",
				     report->decisions ? json_array_ref(report->decisions)
						       : json_array_new());
	set_number(object, "slowdown", report->slowdown);
	set_number(object, "broken_off", report->broken_off);
	set_number(object, "broken_off_ms", report->broken_off_ms);
	set_number(object, "hand_over_ms", report->hand_over_ms);
	return object;
}

/* NULL: there was none. */
static JsonObject *describe_postcopy(const struct move_report *report)
{
	if (!report->postcopy)
		return NULL;
	JsonObject *object = json_object_new();
	set_number(object, "recoveries", report->postcopy_recoveries);
	/* as the mover says it: its fields are its own */
	if (report->page_requests)
		json_object_set_object_member(object, "pages",
					      json_object_ref(report->page_requests));
	else
		json_object_set_null_member(object, "pages");
	return object;
}

static JsonObject *describe_link(const struct move_report *report)
{
	JsonObject *object = json_object_new();
	JsonArray *lanes = json_array_new();
	for (int i = 0; report->lane_bytes && i < report->connections; i++)
		json_array_add_int_element(lanes, (gint64) report->lane_bytes[i]);
	json_set_text(object, "kind", report->link);
	set_number(object, "connections", report->connections);
	json_object_set_array_member(object, "connection_bytes", lanes);
	set_number(object, "round_trip_us", report->round_trip_us);
	set_number(object, "reconnects", report->reconnects);
	return object;
}

static JsonObject *describe_proof(const struct move_report *report)
{
	JsonObject *object = json_object_new();
	JsonArray *skipped = json_array_new();
	for (char **name = report->memory_skipped; name && *name; name++)
		json_array_add_string_element(skipped, *name);
	json_object_set_boolean_member(object, "stream", report->stream_agreed);
	json_set_text(object, "stream_tag", report->stream_tag);
	json_set_text(object, "memory", report->memory_proof ? report->memory_proof : "none");
	set_number(object, "memory_pages", (int64_t) report->memory_pages);
	set_number(object, "memory_bytes", (int64_t) report->memory_bytes);
	json_object_set_array_member(object, "memory_skipped", skipped);
	set_number(object, "shared_disks", report->shared_disks);
	return object;
}

static JsonObject *describe_state(const struct move_report *report)
{
	JsonObject *object = json_object_new();
	json_set_text(object, "path", report->state_path);
	set_number(object, "size", (int64_t) report->state_bytes);
	json_set_text(object, "sha256", report->state_digest);
	return object;
}

/* The checks whose refusal was overruled. */
static JsonArray *list_accepted(const struct move_report *report)
{
	JsonArray *names = json_array_new();
	for (guint i = 0; report->findings && i < report->findings->len; i++) {
		const struct check_finding *finding = report->findings->pdata[i];
		if (finding->accepted)
			json_array_add_string_element(names, finding->check);
	}
	return names;
}

static void describe_head(JsonObject *object, const struct move_report *report, const GError *error)
{
	JsonObject *vm = json_object_new();
	json_object_set_int_member(object, "format", FORMAT);
	json_set_text(object, "watari", watari_version);
	json_set_text(object, "id", report->id[0] ? report->id : NULL);
	json_set_text(object, "outcome", move_outcome_name(report->outcome));
	set_number(object, "exit_code", error ? (int64_t) error_exit_code(error) : 0);
	json_set_text(vm, "name", report->vm_name);
	json_set_text(vm, "uuid", report->vm_uuid);
	json_object_set_object_member(object, "vm", vm);
	json_set_text(object, "kind", move_kind_name(report->kind));
}

char *move_report_print(const struct move_report *report, const GError *error)
{
	JsonObject *object = json_object_new();
	JsonArray *notes = json_array_new();
	describe_head(object, report, error);
	json_object_set_object_member(object, "source", describe_side(&report->sides[MOVE_SOURCE]));
	json_object_set_object_member(object, "destination",
				      describe_side(&report->sides[MOVE_DESTINATION]));
	json_set_text(object, "failed_phase", report->failed_phase);
	json_object_set_object_member(object, "times", describe_times(report));
	json_object_set_object_member(object, "bytes", describe_bytes(report));
	json_object_set_object_member(object, "convergence", describe_convergence(report));
	JsonObject *postcopy = describe_postcopy(report);
	if (postcopy)
		json_object_set_object_member(object, "postcopy", postcopy);
	else
		json_object_set_null_member(object, "postcopy");
	json_object_set_object_member(object, "link", describe_link(report));
	json_object_set_object_member(object, "proof", describe_proof(report));
	if (report->state_path)
		json_object_set_object_member(object, "state", describe_state(report));
	else
		json_object_set_null_member(object, "state");
	json_object_set_array_member(object, "disks", move_disks_describe(report->disks));
	json_object_set_array_member(
		object, "files", report->files ? json_array_ref(report->files) : json_array_new());
	set_number(object, "snapshots", report->snapshots);
	json_object_set_array_member(object, "carried",
				     report->carried ? json_array_ref(report->carried)
						     : json_array_new());
	json_object_set_array_member(object, "compared",
				     report->compared ? json_array_ref(report->compared)
						      : json_array_new());
	json_object_set_array_member(object, "checks", check_describe(report->findings, true));
	json_object_set_array_member(object, "accepted", list_accepted(report));
	for (guint i = 0; report->notes && i < report->notes->len; i++)
		json_array_add_string_element(notes, report->notes->pdata[i]);
	if (report->forecast)
		json_object_set_object_member(object, "forecast",
					      json_object_ref(report->forecast));
	else
		json_object_set_null_member(object, "forecast");
	if (report->rehearsal)
		json_object_set_object_member(object, "rehearsal",
					      json_object_ref(report->rehearsal));
	else
		json_object_set_null_member(object, "rehearsal");
	if (report->parts)
		json_object_set_object_member(object, "parts", json_object_ref(report->parts));
	json_object_set_array_member(object, "notes", notes);
	if (error)
		json_object_set_object_member(object, "error", json_describe_error(error));
	else
		json_object_set_null_member(object, "error");
	g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
	json_node_take_object(node, object);
	return json_to_string(node, TRUE);
}
