/* SPDX-License-Identifier: Apache-2.0 */
/* The journal: what was said is found again, also after a kill; a broken file is an error. */
#include "journal/journal.h"

#include "base/error.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *directory;

static void set_up(void)
{
	directory = g_dir_make_tmp("watari-journal-XXXXXX", NULL);
	g_assert_nonnull(directory);
}

static void tear_down(void)
{
	static const char *const names[] = { "journal.sqlite", "journal.sqlite-wal",
					     "journal.sqlite-shm" };
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = g_build_filename(directory, names[i], NULL);
		g_unlink(path);
	}
	g_assert_cmpint(g_rmdir(directory), ==, 0);
	g_free(directory);
}

static const char id[] = "00112233445566778899aabbccddeeff";
static const char uuid[] = "6f6a3f0e-0000-4000-8000-000000000001";

static void begin(struct journal *journal, const char *name, int64_t started_s)
{
	char own[33], phase[] = "check", source[] = "", destination[] = "hostb", options[] = "{}";
	g_autofree char *vm = g_strdup(name), *vm_uuid = g_strdup(uuid);
	g_snprintf(own, sizeof own, "%.24s%08x", id, (unsigned) started_s);
	struct journal_move move = { .id = own,
				     .vm_name = vm,
				     .vm_uuid = vm_uuid,
				     .source = source,
				     .destination = destination,
				     .options = options,
				     .phase = phase,
				     .pid = 42,
				     .started_s = started_s };
	GError *error = NULL;
	g_assert_true(journal_begin(journal, &move, &error));
	g_assert_no_error(error);
}

static struct journal *opened(void)
{
	GError *error = NULL;
	struct journal *journal = journal_open(directory, &error);
	g_assert_no_error(error);
	return journal;
}

/* The newest move of VM; NULL: it has none. */
static struct journal_move *find_newest(struct journal *journal, const char *vm, GError **error)
{
	g_autoptr(GPtrArray) moves = journal_list(journal, vm, 1, error);
	return moves->len > 0 ? g_ptr_array_steal_index(moves, 0) : NULL;
}

static void test_life(void)
{
	set_up();
	struct journal *journal = opened();
	struct stat facts;
	g_autofree char *path = g_build_filename(directory, "journal.sqlite", NULL);
	g_assert_cmpint(stat(path, &facts), ==, 0);
	g_assert_cmpint(facts.st_mode & 0777, ==, 0600);
	begin(journal, "web", 100);
	struct journal_move *move = find_newest(journal, "web", NULL);
	g_assert_nonnull(move);
	g_assert_cmpstr(move->phase, ==, "check");
	g_assert_cmpstr(move->source, ==, "");
	g_assert_null(move->outcome);
	g_assert_cmpint(move->ended_s, ==, 0);
	g_assert_true(journal_set_phase(journal, move->id, "perform", NULL));
	g_assert_true(journal_add_event(journal, move->id, "snapshots", "[1]", NULL));
	g_assert_true(journal_add_event(journal, move->id, "snapshots", "[2]", NULL));
	g_assert_true(journal_add_event(journal, move->id, "done", NULL, NULL));
	g_autofree char *text = journal_find_event(journal, move->id, "snapshots");
	g_assert_cmpstr(text, ==, "[2]");
	g_assert_true(journal_has_event(journal, move->id, "done"));
	g_assert_false(journal_has_event(journal, move->id, "never"));
	g_assert_true(journal_end(journal, move->id, "migrated", "{\"a\":1}", NULL));
	journal_move_free(move);
	move = find_newest(journal, uuid, NULL);
	g_assert_cmpstr(move->phase, ==, "perform");
	g_assert_cmpstr(move->outcome, ==, "migrated");
	g_assert_cmpstr(move->numbers, ==, "{\"a\":1}");
	g_assert_cmpint(move->ended_s, >, 0);
	journal_move_free(move);
	journal_close(journal);
	tear_down();
}

static void test_newest(void)
{
	set_up();
	struct journal *journal = opened();
	begin(journal, "web", 100);
	begin(journal, "web", 300);
	begin(journal, "web", 200);
	/* the last that was begun, whatever the clock said */
	struct journal_move *move = find_newest(journal, "web", NULL);
	g_assert_cmpint(move->started_s, ==, 200);
	journal_move_free(move);
	g_autoptr(GPtrArray) moves = journal_list(journal, "web", 10, NULL);
	g_assert_cmpuint(moves->len, ==, 3);
	for (guint i = 0; i + 1 < moves->len; i++) {
		const struct journal_move *newer = moves->pdata[i], *older = moves->pdata[i + 1];
		g_assert_cmpint(newer->number, >, older->number);
	}
	GError *error = NULL;
	g_assert_null(find_newest(journal, "other", &error));
	g_assert_no_error(error);
	journal_close(journal);
	tear_down();
}

/* More than a thousand moves, written past the journal's own door for speed. */
static void fill(void)
{
	g_autofree char *path = g_build_filename(directory, "journal.sqlite", NULL);
	sqlite3 *database = NULL;
	g_assert_cmpint(sqlite3_open(path, &database), ==, SQLITE_OK);
	g_assert_cmpint(
		sqlite3_exec(
			database,
			"WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n"
			" WHERE i < 1500) INSERT INTO moves(id, vm_name, vm_uuid, source,"
			" destination, phase, pid, started, outcome) SELECT 'm' || i, 'vm' || i,"
			" 'u', '', 'd', 'check', 1, i, 'migrated' FROM n;"
			"UPDATE moves SET outcome = NULL WHERE id = 'm7';"
			"UPDATE moves SET outcome = 'attention' WHERE id = 'm8';"
			"INSERT INTO events(move, time, kind) VALUES('m1', 1, 'old'),"
			" ('m1500', 1, 'new')",
			NULL, NULL, NULL),
		==, SQLITE_OK);
	sqlite3_close(database);
}

/* The newest thousand stay, and the events go with their moves. */
static void test_small(void)
{
	set_up();
	journal_close(opened());
	fill();
	struct journal *journal = opened();
	begin(journal, "web", 2000);
	GError *error = NULL;
	g_assert_null(find_newest(journal, "vm500", &error));
	g_assert_no_error(error);
	struct journal_move *move = find_newest(journal, "vm501", NULL);
	g_assert_nonnull(move);
	journal_move_free(move);
	/* what has no clear end stays, however old it is */
	g_autoptr(GPtrArray) open = journal_list_unfinished(journal, NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(open->len, ==, 3);
	g_assert_cmpstr(((struct journal_move *) open->pdata[1])->id, ==, "m8");
	g_assert_cmpstr(((struct journal_move *) open->pdata[2])->id, ==, "m7");
	g_assert_false(journal_has_event(journal, "m1", "old"));
	g_assert_true(journal_has_event(journal, "m1500", "new"));
	journal_close(journal);
	tear_down();
}

static void expect_text(sqlite3 *database, const char *sql, const char *expected)
{
	sqlite3_stmt *statement = NULL;
	g_assert_cmpint(sqlite3_prepare_v2(database, sql, -1, &statement, NULL), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_step(statement), ==, SQLITE_ROW);
	g_assert_cmpstr((const char *) sqlite3_column_text(statement, 0), ==, expected);
	sqlite3_finalize(statement);
}

/* So many, in the order in which they were said. */
static void expect_events(sqlite3 *database, int count, const char *first, const char *last_kind)
{
	g_autofree char *number = g_strdup_printf("%d", count);
	expect_text(database, "SELECT count(*) FROM events", number);
	expect_text(database, "SELECT text FROM events ORDER BY id LIMIT 1", first);
	expect_text(database, "SELECT kind FROM events ORDER BY id DESC LIMIT 1", last_kind);
	expect_text(database,
		    "SELECT count(*) FROM events a JOIN events b ON b.id = a.id + 1 WHERE"
		    " a.kind = 'note' AND b.kind = 'note' AND b.text <> 'last' AND"
		    " CAST(a.text AS INTEGER) + 1 <> CAST(b.text AS INTEGER)",
		    "0");
}

/* A conductor that is killed leaves what it last said. */
static void test_killed(void)
{
	set_up();
	pid_t child = fork();
	if (child == 0) {
		struct journal *journal = journal_open(directory, NULL);
		begin(journal, "web", 100);
		journal_set_phase(journal, "nothing", "x", NULL);
		kill(getpid(), SIGKILL);
	}
	int status;
	g_assert_cmpint(waitpid(child, &status, 0), ==, child);
	g_assert_true(WIFSIGNALED(status));
	struct journal *journal = opened();
	struct journal_move *move = find_newest(journal, "web", NULL);
	g_assert_nonnull(move);
	g_assert_null(move->outcome);
	journal_move_free(move);
	journal_close(journal);
	tear_down();
}

/* Somebody else's lock: notes wait in the background, in order, and what must be on the disk says that it
 * could not. */
static void test_locked(void)
{
	set_up();
	struct journal *journal = opened();
	g_autoptr(GError) error = NULL;
	g_autofree char *path = g_build_filename(directory, "journal.sqlite", NULL);
	sqlite3 *other = NULL;
	begin(journal, "web", 100);
	struct journal_move *move = find_newest(journal, "web", NULL);
	g_assert_cmpint(sqlite3_open(path, &other), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), ==, SQLITE_OK);
	gint64 start_us = g_get_monotonic_time();
	for (int i = 0; i < 100; i++) {
		g_autofree char *text = g_strdup_printf("%d", i);
		journal_note_event(journal, move->id, "note", text);
	}
	journal_note_event(journal, "nobody's", "note", NULL);
	g_assert_cmpint(g_get_monotonic_time() - start_us, <, 200000);
	g_assert_false(journal_add_event(journal, move->id, "through-left", NULL, &error));
	g_assert_nonnull(error);
	journal_note_event(journal, move->id, "note", "last");
	g_assert_cmpint(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), ==, SQLITE_OK);
	g_assert_true(journal_add_event(journal, move->id, "after", NULL, NULL));
	g_assert_false(journal_has_event(journal, move->id, "through-left"));
	g_autofree char *last = journal_find_event(journal, move->id, "note");
	g_assert_cmpstr(last, ==, "last");
	expect_events(other, 102, "0", "after");
	sqlite3_close(other);
	journal_move_free(move);
	journal_close(journal);
	tear_down();
}

/* Said, and closed at once: it is there. */
static void test_noted(void)
{
	set_up();
	struct journal *journal = opened();
	begin(journal, "web", 100);
	struct journal_move *move = find_newest(journal, "web", NULL);
	journal_note_event(journal, move->id, "one", "1");
	g_assert_true(journal_has_event(journal, move->id, "one"));
	journal_note_event(journal, move->id, "two", NULL);
	g_assert_true(journal_flush(journal, NULL));
	journal_note_event(journal, move->id, "three", NULL);
	journal_close(journal);
	journal = opened();
	g_assert_true(journal_has_event(journal, move->id, "two"));
	g_assert_true(journal_has_event(journal, move->id, "three"));
	journal_note_event(NULL, move->id, "four", NULL);
	g_assert_true(journal_flush(NULL, NULL));
	journal_move_free(move);
	journal_close(journal);
	tear_down();
}

/* A disk that takes no more: what was said before stays, and each call says so. */
static void test_full(void)
{
	set_up();
	struct journal *journal = opened();
	struct rlimit limit;
	g_autoptr(GError) error = NULL;
	begin(journal, "web", 100);
	struct journal_move *move = find_newest(journal, "web", NULL);
	signal(SIGXFSZ, SIG_IGN);
	g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &limit), ==, 0);
	limit.rlim_cur = 1;
	g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
	journal_note_event(journal, move->id, "note", NULL);
	bool added = journal_add_event(journal, move->id, "images", "[]", &error);
	bool flushed = journal_flush(journal, NULL);
	limit.rlim_cur = limit.rlim_max;
	g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
	g_assert_false(added);
	g_assert_false(flushed);
	g_assert_nonnull(error);
	g_assert_true(journal_flush(journal, NULL));
	g_assert_true(journal_has_event(journal, move->id, "note"));
	g_assert_false(journal_has_event(journal, move->id, "images"));
	journal_move_free(move);
	journal_close(journal);
	tear_down();
}

static void write_file(const char *text)
{
	g_autofree char *path = g_build_filename(directory, "journal.sqlite", NULL);
	g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void test_broken(void)
{
	g_autoptr(GError) error = NULL;
	set_up();
	write_file("this is no database, and it is long enough to be looked at as one by SQLite; "
		   "it only has to be at least one hundred bytes long");
	g_assert_null(journal_open(directory, &error));
	g_assert_error(error, WATARI_ERROR, WATARI_ERROR_INTERNAL);
	tear_down();
}

/* Without a journal everything is a no-op that works. */
static void test_none(void)
{
	g_assert_true(journal_set_phase(NULL, id, "x", NULL));
	g_assert_true(journal_add_event(NULL, id, "x", "y", NULL));
	g_assert_true(journal_end(NULL, id, "x", "y", NULL));
	g_assert_null(find_newest(NULL, "web", NULL));
	g_assert_null(journal_find_event(NULL, id, "x"));
	g_assert_false(journal_has_event(NULL, id, "x"));
	journal_close(NULL);
}

/* Events of one kind, newest first, each with its move. */
static void test_events(void)
{
	set_up();
	struct journal *journal = opened();
	char own[33];
	for (unsigned i = 0; i < 5; i++) {
		g_autofree char *name = g_strdup_printf("vm%u", i);
		g_autofree char *text = g_strdup_printf("text %u", i);
		begin(journal, name, 100 + i);
		g_snprintf(own, sizeof own, "%.24s%08x", id, 100 + i);
		journal_add_event(journal, own, "forecast", i == 3 ? NULL : text, NULL);
		journal_add_event(journal, own, "other", "not this one", NULL);
	}
	GError *error = NULL;
	g_autoptr(GPtrArray) events = journal_list_events(journal, "forecast", 3, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(events->len, ==, 3);
	const struct journal_event *first = events->pdata[0], *second = events->pdata[1];
	g_assert_cmpstr(first->text, ==, "text 4");
	g_assert_cmpstr(first->move->vm_name, ==, "vm4");
	g_assert_cmpstr(first->move->destination, ==, "hostb");
	g_assert_null(second->text);
	g_autoptr(GPtrArray) none = journal_list_events(journal, "nothing", 3, &error);
	g_assert_cmpuint(none->len, ==, 0);
	g_autoptr(GPtrArray) without = journal_list_events(NULL, "forecast", 3, &error);
	g_assert_cmpuint(without->len, ==, 0);
	journal_close(journal);
	tear_down();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/journal/life", test_life);
	g_test_add_func("/journal/newest", test_newest);
	g_test_add_func("/journal/small", test_small);
	g_test_add_func("/journal/killed", test_killed);
	g_test_add_func("/journal/locked", test_locked);
	g_test_add_func("/journal/noted", test_noted);
	g_test_add_func("/journal/full", test_full);
	g_test_add_func("/journal/broken", test_broken);
	g_test_add_func("/journal/none", test_none);
	g_test_add_func("/journal/events", test_events);
	return g_test_run();
}
