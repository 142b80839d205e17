/* SPDX-License-Identifier: Apache-2.0 */
/* What a mover says never becomes what the conductor knows to have done: each kind of the journal that
 * decides what becomes of a VM, said by either mover. */
#include "conductor/core/mover_events.h"
#include "conductor/postcopy/postcopy.h"

#include "base/json.h"

#include <glib/gstdio.h>
#include <string.h>

static const char id[] = "00112233445566778899aabbccddeeff";

/* Read by `watari resolve` and by a new move. */
static const char *const decisive[] = {
	"images",           "images-removed", "belongings",      "belongings-given",
	"snapshots",        "before",         "before-restored", "defining",
	"suspending",       "still",          "ending",          "postcopy-asked",
	"through-stopped",  "through-left",   "through-resumed", "through-back",
	"through-restored", "forecast",       "rehearsal",       "hand-over",
};

struct scene {
	struct move move;
	struct move_request request;
	struct move_observer observer;
	struct move_report report;
	char *directory;
	char sides[MOVE_SIDES]; /* stand for the movers: only their addresses count */
};

static void see_nothing(const struct move_progress *progress, void *data)
{
}

static void set_up(struct scene *scene)
{
	char none[] = "", name[] = "web", phase[] = "perform";
	*scene = (struct scene){ .observer = { .progress = see_nothing } };
	scene->directory = g_dir_make_tmp("watari-heard-XXXXXX", NULL);
	move_report_init(&scene->report);
	g_strlcpy(scene->report.id, id, sizeof scene->report.id);
	struct move *move = &scene->move;
	move->request = &scene->request;
	move->observer = &scene->observer;
	move->report = &scene->report;
	move->journal = journal_open(scene->directory, NULL);
	for (int side = 0; side < MOVE_SIDES; side++)
		move->movers[side] = (struct dialogue *) (void *) &scene->sides[side];
	struct journal_move row = { .id = scene->report.id,
				    .vm_name = name,
				    .vm_uuid = name,
				    .source = none,
				    .destination = name,
				    .phase = phase };
	g_assert_true(journal_begin(move->journal, &row, NULL));
}

static void tear_down(struct scene *scene)
{
	static const char *const names[] = { "journal.sqlite", "journal.sqlite-wal",
					     "journal.sqlite-shm" };
	journal_close(scene->move.journal);
	postcopy_free(&scene->move);
	move_report_clear(&scene->report);
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = g_build_filename(scene->directory, names[i], NULL);
		g_unlink(path);
	}
	g_assert_cmpint(g_rmdir(scene->directory), ==, 0);
	g_free(scene->directory);
}

static void hear(struct scene *scene, enum move_side side, const char *what)
{
	g_autoptr(JsonObject) event = json_object_new();
	json_object_set_string_member(event, "t", "event");
	json_object_set_string_member(event, "what", what);
	mover_events_heard(scene->move.movers[side], "event", event, &scene->move);
}

static bool has(struct scene *scene, const char *kind)
{
	return journal_has_event(scene->move.journal, id, kind);
}

static void test_decisive(void)
{
	struct scene scene;
	set_up(&scene);
	for (size_t i = 0; i < G_N_ELEMENTS(decisive); i++) {
		for (int side = 0; side < MOVE_SIDES; side++)
			hear(&scene, side, decisive[i]);
		g_autofree char *prefixed = g_strconcat("mover-", decisive[i], NULL);
		g_assert_false(has(&scene, decisive[i]));
		g_assert_false(has(&scene, prefixed));
	}
	hear(&scene, MOVE_SOURCE, "");
	hear(&scene, MOVE_DESTINATION, "mover-released");
	g_assert_false(has(&scene, ""));
	g_assert_false(has(&scene, "mover-released"));
	tear_down(&scene);
}

/* Where nobody permitted it, and from the destination, it is only told. */
static void test_postcopy(void)
{
	static const struct {
		enum move_side side;
		bool allowed, believed;
	} rows[] = { { MOVE_SOURCE, false, false },
		     { MOVE_DESTINATION, false, false },
		     { MOVE_DESTINATION, true, false },
		     { MOVE_SOURCE, true, true } };
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct scene scene;
		set_up(&scene);
		scene.request.allow_postcopy = rows[i].allowed;
		hear(&scene, rows[i].side, "postcopy");
		g_assert_true(postcopy_switched(&scene.move) == rows[i].believed);
		g_assert_true(has(&scene, "postcopy") == rows[i].believed);
		g_assert_true(has(&scene, "mover-postcopy"));
		tear_down(&scene);
	}
}

/* What only the source's mover can know, said by the other one. */
static void test_sides(void)
{
	struct scene scene;
	set_up(&scene);
	hear(&scene, MOVE_DESTINATION, "stopped");
	hear(&scene, MOVE_DESTINATION, "released");
	g_assert_false(scene.move.stopped || scene.move.released);
	hear(&scene, MOVE_SOURCE, "stopped");
	g_assert_true(scene.move.stopped);
	g_autofree char *text = journal_find_event(scene.move.journal, id, "mover-stopped");
	g_assert_cmpstr(text, ==, "source");
	tear_down(&scene);
}

/* One that never stops talking does not fill the journal. */
static void test_flood(void)
{
	struct scene scene;
	set_up(&scene);
	for (int i = 0; i < 5000; i++)
		hear(&scene, MOVE_DESTINATION, "pass-end");
	g_assert_cmpuint(scene.move.events_noted, ==, 5000);
	hear(&scene, MOVE_SOURCE, "stopped");
	g_assert_true(scene.move.stopped);
	g_assert_false(has(&scene, "mover-stopped"));
	tear_down(&scene);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/movers-heard/decisive", test_decisive);
	g_test_add_func("/movers-heard/postcopy", test_postcopy);
	g_test_add_func("/movers-heard/sides", test_sides);
	g_test_add_func("/movers-heard/flood", test_flood);
	return g_test_run();
}
