/* SPDX-License-Identifier: Apache-2.0 */
/* A journal that fails at one stage: each stage of every way, walked as a table. What a stage names is not done, it is
 * said why, and with a journal that works it is done. The hosts are two of libvirt's own test driver. */
#include "conductor/prepare/belongings.h"
#include "conductor/disks/images.h"
#include "conductor/settle/carry_out.h"
#include "conductor/core/mover_events.h"
#include "conductor/live/qemu_settings.h"
#include "conductor/postcopy/postcopy.h"
#include "conductor/core/stage.h"
#include "conductor/core/part.h"
#include "conductor/through/through.h"

#include <glib/gstdio.h>
#include <libvirt/virterror.h>
#include <sqlite3.h>
#include <string.h>

#define UUID "6695eb01-f6a4-8304-79aa-97f2502e193f"
#define BROKEN "no room on this disk"

static const char node_text[] = "<node><domain type='test'><name>vm</name><uuid>" UUID "</uuid>"
				"<memory>8192</memory><vcpu>1</vcpu><os><type>hvm</type></os>"
				"</domain></node>";

struct scene {
	char *directory;
	struct move_request request;
	struct move_observer observer;
	struct move_report report;
	struct move move;
	struct host hosts[MOVE_SIDES];
	struct ending ending;
	GString *notes;
	char mover; /* stands for the source's: only its address counts */
};

static void see_nothing(const struct move_progress *progress, void *data)
{
}

static void hear_note(const char *text, bool important, void *data)
{
	g_string_append_printf(data, "%s\n", text);
}

/* ---- the journal ---- */

static void execute(struct scene *scene, const char *sql)
{
	g_autofree char *path = g_build_filename(scene->directory, "journal.sqlite", NULL);
	sqlite3 *database = NULL;
	g_assert_cmpint(sqlite3_open(path, &database), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_exec(database, sql, NULL, NULL, NULL), ==, SQLITE_OK);
	sqlite3_close(database);
}

static void break_journal(struct scene *scene, enum stage stage)
{
	g_autofree char *sql = g_strdup_printf("CREATE TRIGGER broken BEFORE INSERT ON events "
					       "WHEN NEW.kind = '%s' BEGIN "
					       "SELECT RAISE(ABORT, '" BROKEN "'); END",
					       stage_name(stage));
	execute(scene, sql);
}

static void begin_journal(struct scene *scene)
{
	struct journal_move row = { .id = scene->report.id,
				    .vm_name = scene->report.vm_name,
				    .vm_uuid = scene->report.vm_uuid,
				    .source = (char[]){ "" },
				    .destination = (char[]){ "" },
				    .phase = (char[]){ "perform" } };
	g_strlcpy(scene->report.id, "0123456789abcdef0123456789abcdef", sizeof scene->report.id);
	scene->move.journal = journal_open(scene->directory, NULL);
	g_assert_true(journal_begin(scene->move.journal, &row, NULL));
}

/* ---- the scene ---- */

static void fill(struct scene *scene)
{
	struct move *move = &scene->move;
	g_autofree char *program = g_build_filename(scene->directory, "watari", NULL);
	g_assert_true(g_file_set_contents(program, "#!/bin/sh\necho {}\n", -1, NULL));
	g_chmod(program, 0755);
	scene->notes = g_string_new(NULL);
	scene->observer = (struct move_observer){ .progress = see_nothing,
						  .note = hear_note,
						  .data = scene->notes };
	move->shell.watari = g_intern_string(program);
	move->request = &scene->request;
	move->observer = &scene->observer;
	move->report = &scene->report;
	move->movers[MOVE_SOURCE] = NULL;
	move_report_init(&scene->report);
	scene->report.vm_uuid = g_strdup(UUID);
	scene->report.vm_name = g_strdup("vm");
	scene->ending = (struct ending){ .uuid = UUID, .name = "vm" };
}

static struct scene *scene_new(void)
{
	struct scene *scene = g_new0(struct scene, 1);
	scene->directory = g_dir_make_tmp("watari-stages-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(scene->directory, "node.xml", NULL);
	g_autofree char *uri = g_strdup_printf("test://%s", path);
	g_assert_true(g_file_set_contents(path, node_text, -1, NULL));
	fill(scene);
	for (int side = 0; side < MOVE_SIDES; side++) {
		struct host *host = &scene->hosts[side];
		scene->move.addresses[side] = host_address_parse(NULL, NULL);
		scene->ending.addresses[side] = host->address = scene->move.addresses[side];
		host->connection = virConnectOpen(uri);
		g_assert_nonnull(host->connection);
		scene->move.hosts[side] = host;
		scene->ending.hosts[side] = scene->ending.borrowed[side] = host;
	}
	scene->move.domain =
		virDomainLookupByUUIDString(scene->hosts[MOVE_SOURCE].connection, UUID);
	begin_journal(scene);
	return scene;
}

static void scene_free(struct scene *scene)
{
	struct move *move = &scene->move;
	postcopy_free(move);
	through_free(move->through);
	virDomainFree(move->domain);
	for (int side = 0; side < MOVE_SIDES; side++) {
		virConnectClose(scene->hosts[side].connection);
		host_address_free(move->addresses[side]);
	}
	g_clear_pointer(&move->images, json_array_unref);
	g_clear_pointer(&move->belongings, json_object_unref);
	g_free(move->mover_reason);
	g_free(move->mover_next);
	journal_close(move->journal);
	move_report_clear(&scene->report);
	g_string_free(scene->notes, TRUE);
	g_autofree char *command = g_strdup_printf("rm -rf %s", scene->directory);
	g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
	g_free(scene->directory);
	g_free(scene);
}

static enum host_vm_state state_of(struct scene *scene, enum move_side side)
{
	struct host_vm vm;
	g_assert_true(host_vm_ask(&scene->hosts[side], UUID, &vm, NULL));
	return vm.state;
}

static void begin_through(struct scene *scene, enum ending_through stage)
{
	g_autofree char *path = g_build_filename(scene->directory, "watari-0.state", NULL);
	scene->move.through = through_new(path);
	scene->move.through->stage = stage;
	scene->ending.state = scene->move.through->path;
}

/* ---- the ways: true when what the stage names was done ---- */

static bool note_private_file(struct scene *scene, enum stage stage, GError **error)
{
	return stage_enter(&scene->move, stage, "[]", error);
}

static bool make_image(struct scene *scene, enum stage stage, GError **error)
{
	struct images_intent intent = { .path = "/nowhere/a.img" };
	unsigned index = 0;
	return images_note_intent(&scene->move, &intent, &index, error);
}

/* The VM's snapshot is taken off only once it is safe. (That the test driver cannot: it is tried.) */
static bool take_belongings(struct scene *scene, enum stage stage, GError **error)
{
	virDomainPtr domain = scene->move.domain;
	virDomainSnapshotPtr made = virDomainSnapshotCreateXML(
		domain, "<domainsnapshot><name>s</name></domainsnapshot>", 0);
	g_assert_nonnull(made);
	virDomainSnapshotFree(made);
	g_assert_false(phase_belongings(&scene->move, error));
	bool tried = !strstr((*error)->message, "written down");
	if (tried)
		g_clear_error(error);
	return tried;
}

static bool change_limits(struct scene *scene, enum stage stage, GError **error)
{
	return qemu_settings_read(&scene->move, error);
}

static bool ask_postcopy(struct scene *scene, enum stage stage, GError **error)
{
	scene->request.allow_postcopy = scene->move.limits.postcopy = true;
	scene->move.performing = true;
	bool good = postcopy_begin(&scene->move, error);
	g_assert_true(good == postcopy_asked(&scene->move));
	return good;
}

extern const struct part quick_part;

/* The reason goes the way of a mover's, which ends the move. */
static bool suspend(struct scene *scene, enum stage stage, GError **error)
{
	static const struct job_stats_numbers numbers;
	struct move *move = &scene->move;
	scene->request.kind = MOVE_QUICK;
	scene->request.prewarm = true;
	move->progress.iteration = 2;
	quick_part.begin(move);
	quick_part.tick(move, &numbers);
	quick_part.tick(move, &numbers);
	quick_part.end(move);
	if (move->mover_reason)
		error_set(error, WATARI_ERROR_INTERNAL, move->mover_next, "%s", move->mover_reason);
	bool stopped = state_of(scene, MOVE_SOURCE) == HOST_VM_PAUSED;
	g_assert_true(stopped == move->suspending);
	return stopped;
}

static bool define_there(struct scene *scene, enum stage stage, GError **error)
{
	virDomainPtr there =
		virDomainLookupByUUIDString(scene->hosts[MOVE_DESTINATION].connection, UUID);
	g_assert_cmpint(virDomainDestroy(there), ==, 0);
	g_assert_cmpint(virDomainUndefine(there), ==, 0);
	virDomainFree(there);
	g_assert_cmpint(virDomainDestroy(scene->move.domain), ==, 0);
	scene->move.undefine_source = true;
	scene->report.disks = g_ptr_array_new();
	bool good = phase_define(&scene->move, error);
	bool defined = state_of(scene, MOVE_DESTINATION) != HOST_VM_ABSENT;
	g_assert_true(defined == good && good == scene->move.defining);
	return good;
}

/* What comes after the stop, the test driver cannot do. */
static bool stop_for_state(struct scene *scene, enum stage stage, GError **error)
{
	begin_through(scene, THROUGH_BEFORE);
	scene->report.disks = g_ptr_array_new();
	phase_save(&scene->move, error);
	bool stopped = state_of(scene, MOVE_SOURCE) == HOST_VM_PAUSED;
	if (stopped)
		g_clear_error(error);
	return stopped;
}

static bool note_digest(struct scene *scene, enum stage stage, GError **error)
{
	begin_through(scene, THROUGH_STOPPED);
	return through_note_digest(&scene->move, "00", error);
}

/* What follows these the test driver cannot do. */
static bool enter_through(struct scene *scene, enum stage stage, GError **error)
{
	enum ending_through next = stage == STAGE_THROUGH_LEFT   ? THROUGH_LEFT
				   : stage == STAGE_THROUGH_BACK ? THROUGH_BACK
								 : THROUGH_RESTORED;
	begin_through(scene, THROUGH_STOPPED);
	bool good = through_enter(&scene->move, next, error);
	g_assert_true((scene->move.through->stage == next) == good);
	return good;
}

/* D is restored and paused, S is ended. */
static bool resume_there(struct scene *scene, enum stage stage, GError **error)
{
	virDomainPtr there =
		virDomainLookupByUUIDString(scene->hosts[MOVE_DESTINATION].connection, UUID);
	begin_through(scene, THROUGH_LEFT);
	g_assert_cmpint(virDomainSuspend(there), ==, 0);
	virDomainFree(there);
	g_assert_cmpint(virDomainDestroy(scene->move.domain), ==, 0);
	struct ending_sight seen = { .ran = ENDING_RAN_NEVER, .through = THROUGH_LEFT };
	for (int side = 0; side < MOVE_SIDES; side++)
		seen.known[side] = host_vm_ask(&scene->hosts[side], UUID, &seen.vms[side], NULL);
	const struct ending_rule *rule = ending_judge(&seen);
	g_assert_cmpint(rule->action, ==, ENDING_RESUME_DESTINATION);
	bool good = carry_out_ending(&scene->move, &scene->ending, &seen, rule, error);
	g_assert_true((state_of(scene, MOVE_DESTINATION) == HOST_VM_RUNNING) == good);
	return good;
}

/* ---- what is done already ---- */

static bool is_done(struct scene *scene, enum stage stage, GError **error)
{
	stage_note_done(&scene->move, stage);
	return true;
}

static bool switched(struct scene *scene, enum stage stage, GError **error)
{
	struct move *move = &scene->move;
	g_autoptr(JsonObject) event = json_object_new();
	json_object_set_string_member(event, "what", "postcopy");
	scene->request.allow_postcopy = true;
	move->movers[MOVE_SOURCE] = (struct dialogue *) (void *) &scene->mover;
	mover_events_heard(move->movers[MOVE_SOURCE], "event", event, move);
	move->movers[MOVE_SOURCE] = NULL;
	return postcopy_switched(move);
}

static const struct {
	bool (*act)(struct scene *scene, enum stage stage, GError **error);
	bool done; /* before it is written down: it stays done, and is said */
} ways[] = {
	[STAGE_PRIVATE_FILES] = { note_private_file, false },
	[STAGE_IMAGES] = { make_image, false },
	[STAGE_BELONGINGS] = { take_belongings, false },
	[STAGE_BEFORE] = { change_limits, false },
	[STAGE_POSTCOPY_ASKED] = { ask_postcopy, false },
	[STAGE_SUSPENDING] = { suspend, false },
	[STAGE_DEFINING] = { define_there, false },
	[STAGE_THROUGH_STOPPED] = { stop_for_state, false },
	[STAGE_THROUGH_DIGEST] = { note_digest, false },
	[STAGE_THROUGH_LEFT] = { enter_through, false },
	[STAGE_THROUGH_RESUMED] = { resume_there, false },
	[STAGE_THROUGH_BACK] = { enter_through, false },
	[STAGE_THROUGH_RESTORED] = { enter_through, false },
	[STAGE_IMAGES_REMOVED] = { is_done, true },
	[STAGE_BELONGINGS_GIVEN] = { is_done, true },
	[STAGE_BEFORE_RESTORED] = { is_done, true },
	[STAGE_POSTCOPY] = { switched, true },
};
_Static_assert(G_N_ELEMENTS(ways) == STAGE_LAST, "every stage is walked");

static void walk(enum stage stage, bool broken)
{
	struct scene *scene = scene_new();
	g_autoptr(GError) error = NULL;
	if (broken)
		break_journal(scene, stage);
	bool done = ways[stage].act(scene, stage, &error);
	g_test_message("%s%s: %s%s", stage_name(stage), broken ? ", broken" : "",
		       error ? error->message : "", scene->notes->str);
	g_assert_true(done == (!broken || ways[stage].done));
	g_assert_true(journal_has_event(scene->move.journal, scene->report.id, stage_name(stage)) ==
		      !broken);
	if (broken && ways[stage].done)
		g_assert_nonnull(strstr(scene->notes->str, BROKEN));
	else if (broken)
		g_assert_nonnull(strstr(error->message, BROKEN));
	else
		g_assert_null(strstr(scene->notes->str, "written down"));
	scene_free(scene);
}

static void test_stage(gconstpointer data)
{
	enum stage stage = (enum stage) GPOINTER_TO_UINT(data);
	g_assert_nonnull(ways[stage].act);
	walk(stage, false);
	walk(stage, true);
}

/* Neither a journal nor a row in it: only what would be lost with the conductor is not done. */
static void test_unrecorded(void)
{
	for (unsigned stage = 0; stage < STAGE_IMAGES_REMOVED; stage++) {
		struct scene *scene = scene_new();
		scene->move.unrecorded = true;
		g_assert_true(stage_enter(&scene->move, stage, NULL, NULL));
		g_assert_false(stage_enter_recorded(&scene->move, stage, NULL, NULL));
		scene_free(scene);
	}
}

static void silence(void *data, virErrorPtr error)
{
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	virSetErrorFunc(NULL, silence);
	for (unsigned stage = 0; stage < STAGE_LAST; stage++) {
		g_autofree char *path = g_strdup_printf("/stages/%s", stage_name(stage));
		g_test_add_data_func(path, GUINT_TO_POINTER(stage), test_stage);
	}
	g_test_add_func("/stages/unrecorded", test_unrecorded);
	return g_test_run();
}
