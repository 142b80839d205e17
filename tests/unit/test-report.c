/* SPDX-License-Identifier: Apache-2.0 */
/* The closing report and the progress line: stable names, nothing invented. */
#include "cli/progress.h"
#include "cli/report.h"

#include "base/json.h"
#include "conductor/live/limit_decisions.h"

#include <stdlib.h>
#include <string.h>

static struct move_report sample(void)
{
	struct move_report report = {
		.id = "0123456789abcdef0123456789abcdef",
		.vm_name = g_strdup("web"),
		.vm_uuid = g_strdup("6f6a3f0e-0000-4000-8000-000000000001"),
		.outcome = MOVE_MIGRATED,
		.started_s = 1,
		.total_ms = 4200,
		.migration_ms = 2000,
		.downtime_ms = 87,
		.stop_to_release_ms = 60,
		.libvirt_downtime_ms = -1,
		.stream_bytes = 1024 * 1024,
		.connections = 2,
		.link = g_strdup("tcp"),
		.stream_agreed = true,
	};
	report.lane_bytes = g_new0(uint64_t, 2);
	report.phases_ms = json_object_new();
	json_object_set_int_member(report.phases_ms, "connect", 12);
	report.notes = g_ptr_array_new_with_free_func(g_free);
	g_ptr_array_add(report.notes, g_strdup("a \"note\""));
	for (int side = 0; side < MOVE_SIDES; side++)
		report.sides[side].host = g_strdup(side ? "hostb" : "hosta");
	report.sides[0].vm_state = g_strdup("absent");
	report.sides[1].vm_state = g_strdup("running");
	return report;
}

static JsonObject *parse(const struct move_report *report, const GError *error)
{
	g_autofree char *text = move_report_print(report, error);
	GError *failure = NULL;
	JsonObject *object = json_parse_object(text, strlen(text), &failure);
	g_assert_no_error(failure);
	return object;
}

static void test_fields(void)
{
	static const char *const names[] = { "format",       "watari",   "id",     "outcome",
					     "exit_code",    "vm",       "source", "destination",
					     "failed_phase", "times",    "bytes",  "link",
					     "convergence",  "postcopy", "proof",  "snapshots",
					     "checks",       "disks",    "notes",  "error",
					     "kind",         "forecast", "state",  "rehearsal",
					     "accepted",     "carried",  "files",  "compared" };
	struct move_report report = sample();
	g_autoptr(JsonObject) object = parse(&report, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		g_assert_true(json_object_has_member(object, names[i]));
	g_assert_cmpint(json_object_get_size(object), ==, G_N_ELEMENTS(names));
	g_assert_cmpstr(json_get_string(object, "outcome", ""), ==, "migrated");
	g_assert_cmpint(json_get_int(object, "exit_code", -1), ==, 0);
	g_assert_true(json_object_get_null_member(object, "error"));
	JsonObject *times = json_get_object(object, "times");
	g_assert_cmpint(json_get_int(times, "downtime_ms", -1), ==, 87);
	/* not known is null, not a number */
	g_assert_true(json_object_get_null_member(times, "libvirt_downtime_ms"));
	JsonObject *phases = json_get_object(times, "phases_ms");
	g_assert_cmpint(json_get_int(phases, "connect", -1), ==, 12);
	JsonObject *destination = json_get_object(object, "destination");
	g_assert_cmpstr(json_get_string(destination, "vm_state", ""), ==, "running");
	move_report_clear(&report);
}

static void test_error(void)
{
	struct move_report report = sample();
	g_autoptr(GError) error = NULL;
	report.outcome = MOVE_FAILED;
	error_set(&error, WATARI_ERROR_FAILED, "do that", "it broke");
	g_autoptr(JsonObject) object = parse(&report, error);
	JsonObject *described = json_get_object(object, "error");
	g_assert_cmpint(json_get_int(object, "exit_code", -1), ==, WATARI_EXIT_FAILED);
	g_assert_cmpstr(json_get_string(described, "class", ""), ==, "failed");
	g_assert_cmpstr(json_get_string(described, "what", ""), ==, "it broke");
	g_assert_cmpstr(json_get_string(described, "next", ""), ==, "do that");
	move_report_clear(&report);
}

/* A report of nothing must print, too: a usage error comes before any host is known. */
static void test_empty(void)
{
	struct move_report report = { .downtime_ms = -1 };
	g_autoptr(JsonObject) object = parse(&report, NULL);
	g_assert_cmpstr(json_get_string(object, "outcome", ""), ==, "refused");
	report_print(&report, stderr);
	move_report_clear(&report);
}

static void test_text(void)
{
	struct move_report report = sample();
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	report_print(&report, out);
	fclose(out);
	g_assert_nonnull(strstr(text, "at hostb it runs"));
	g_assert_nonnull(strstr(text, "stopped for 87 ms"));
	g_assert_nonnull(strstr(text, "1.0 MiB"));
	free(text);
	move_report_clear(&report);
}

/* What a mover says of its encoders passes through; the text names the kinds it knows. */
static void test_content(void)
{
	struct move_report report = sample();
	char *text = NULL;
	size_t size;
	g_autoptr(JsonObject) before = parse(&report, NULL);
	JsonObject *mover = json_get_object(json_get_object(before, "source"), "mover");
	g_assert_true(json_object_get_null_member(mover, "content"));
	JsonObject *content = json_object_new();
	json_object_set_int_member(content, "zero_pages", 12);
	json_object_set_int_member(content, "delta_pages", 34);
	json_object_set_int_member(content, "something_new", 56);
	json_object_set_string_member(content, "literal_pages", "many");
	report.sides[MOVE_SOURCE].content = content;
	report.wire_sent = 256 * 1024;
	g_autoptr(JsonObject) object = parse(&report, NULL);
	mover = json_get_object(json_get_object(object, "source"), "mover");
	g_assert_cmpint(json_get_int(json_get_object(mover, "content"), "something_new", 0), ==,
			56);
	g_assert_cmpfloat(json_object_get_double_member(json_get_object(object, "bytes"), "ratio"),
			  ==, 4);
	FILE *out = open_memstream(&text, &size);
	report_print(&report, out);
	fclose(out);
	g_assert_nonnull(strstr(text, "(1/4.0 of it)"));
	g_assert_nonnull(strstr(text, "zero 12, by what changed 34\n"));
	free(text);
	move_report_clear(&report);
}

static GPtrArray *sample_disks(void)
{
	GPtrArray *facts = disk_read_all(
		"<domain><devices><disk type='file'><driver type='qcow2'/>"
		"<source file='/here/a'/><target dev='vda'/></disk><disk type='file'>"
		"<source file='/both/b'/><target dev='vdb'/></disk></devices></domain>",
		NULL);
	GPtrArray *disks = move_disks_new(facts);
	g_ptr_array_unref(facts);
	struct move_disk *copied = move_disk_find(disks, "vda");
	copied->kind = MOVE_DISK_COPIED;
	copied->destination = g_strdup("/there/a");
	copied->format = g_strdup("qcow2");
	copied->size = 64 << 20;
	move_disk_find(disks, "vdb")->kind = MOVE_DISK_SHARED;
	return disks;
}

/* Each disk with what became of it; what the movers say is believed for those they know only. */
static void test_disks(void)
{
	struct move_report report = sample();
	char *text = NULL;
	size_t size;
	report.disks = sample_disks();
	JsonParser *parser = json_parser_new();
	json_parser_load_from_data(parser,
				   "[1, {\"target\": \"vdx\"}, {\"target\": \"vda\", "
				   "\"literal\": 4096}]",
				   -1, NULL);
	move_disks_take_stats(report.disks, json_node_get_array(json_parser_get_root(parser)));
	g_object_unref(parser);
	g_autoptr(JsonObject) event = json_object_new();
	json_object_set_string_member(event, "target", "vda");
	json_object_set_string_member(event, "digest", "d1");
	move_disks_take_digest(report.disks, event);
	g_autoptr(JsonObject) object = parse(&report, NULL);
	JsonArray *disks = json_get_array(object, "disks");
	g_assert_cmpuint(json_array_get_length(disks), ==, 2);
	JsonObject *first = json_array_get_object_element(disks, 0);
	JsonObject *second = json_array_get_object_element(disks, 1);
	g_assert_cmpstr(json_get_string(first, "kind", ""), ==, "copied");
	g_assert_cmpstr(json_get_string(first, "source", ""), ==, "/here/a");
	g_assert_cmpstr(json_get_string(first, "destination", ""), ==, "/there/a");
	g_assert_cmpstr(json_get_string(first, "digest", ""), ==, "d1");
	g_assert_cmpint(json_get_int(first, "bytes", 0), ==, 4096);
	g_assert_true(json_get_bool(first, "proven", false));
	g_assert_cmpstr(json_get_string(second, "kind", ""), ==, "shared");
	g_assert_cmpstr(json_get_string(second, "destination", ""), ==, "/both/b");
	g_assert_false(json_get_bool(second, "proven", true));
	FILE *out = open_memstream(&text, &size);
	report_print(&report, out);
	fclose(out);
	g_assert_nonnull(strstr(text, "vda (64.0 MiB) copied to /there/a, 4.0 KiB"));
	g_assert_null(strstr(text, "vdb"));
	free(text);
	move_report_clear(&report);
}

/* Each change of the limit is there with all it was decided by. */
static void test_convergence(void)
{
	struct move_report report = sample();
	struct move move = { .report = &report, .observer = &(const struct move_observer){ 0 } };
	const struct limit_change change = { .limit_ms = 109,
					     .reason = LIMIT_FLAT,
					     .iteration = 7,
					     .flat_rounds = 3,
					     .bytes = 12200000,
					     .drain = 115e6,
					     .predicted_ms = 139,
					     .target_ms = 205 };
	limit_decisions_note(&move, &change);
	g_autoptr(JsonObject) object = parse(&report, NULL);
	JsonObject *convergence = json_get_object(object, "convergence");
	JsonArray *changes = json_get_array(convergence, "changes");
	g_assert_cmpint(json_get_int(convergence, "limit_ms", 0), ==, 109);
	g_assert_cmpuint(json_array_get_length(changes), ==, 1);
	JsonObject *first = json_array_get_object_element(changes, 0);
	g_assert_cmpstr(json_get_string(first, "reason", ""), ==, "flat");
	g_assert_cmpint(json_get_int(first, "bytes", 0), ==, 12200000);
	g_assert_cmpint(json_get_int(first, "predicted_ms", 0), ==, 139);
	move_report_clear(&report);
}

static void test_progress(void)
{
	struct move_progress now = { .doing = "copying memory", .left_ms = -1 };
	g_autofree char *early = progress_format(&now);
	g_assert_cmpstr(early, ==, "copying memory");
	now.bytes = 100 * 1024 * 1024;
	now.rate = 10 * 1024 * 1024;
	now.iteration = 2;
	now.left_ms = 1500;
	g_autofree char *line = progress_format(&now);
	g_assert_cmpstr(line, ==,
			"copying memory, 100 MiB at 10.0 MiB/s, pass 2, about 1.5 s left");
	now.doing = "copying disks";
	now.disk_total = 300 * 1024 * 1024;
	now.disk_done = 120 * 1024 * 1024;
	g_autofree char *disks = progress_format(&now);
	g_assert_cmpstr(disks, ==,
			"copying disks, 120 MiB of 300 MiB at 10.0 MiB/s, about 1.5 s left");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/report/fields", test_fields);
	g_test_add_func("/report/error", test_error);
	g_test_add_func("/report/empty", test_empty);
	g_test_add_func("/report/text", test_text);
	g_test_add_func("/report/content", test_content);
	g_test_add_func("/report/disks", test_disks);
	g_test_add_func("/report/convergence", test_convergence);
	g_test_add_func("/report/progress", test_progress);
	return g_test_run();
}
