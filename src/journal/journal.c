/* SPDX-License-Identifier: Apache-2.0 */
/* The journal on SQLite. */
#include "journal/journal.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"
#include "base/wait.h"
#include "journal/test_hold.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	SCHEMA_VERSION = 1,
	BUSY_MS = 5000,
	KEPT_MOVES = 1000,
	NOTES_MOST = 10000, /* that wait for a journal that cannot be written */
	RETRY_US = 1000000,
};

/* An event that somebody said and did not wait for. */
struct note {
	char *id, *kind, *text;
	int64_t time_s;
};

struct journal {
	/* set once */
	char *path;

	/* under USE: one thread at a time, as long as that waits for a lock or a disk */
	pthread_mutex_t use;
	sqlite3 *database;
	GQueue taken; /* notes that the transaction under way writes */

	/* under LOCK: never waited for */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	GQueue notes; /* struct note, oldest first */
	unsigned lost;
	bool stop, writing; /* there is a thread that writes them */
	pthread_t writer;
};

static const char schema[] =
	"CREATE TABLE moves(id TEXT PRIMARY KEY, vm_name TEXT NOT NULL, vm_uuid TEXT NOT NULL,"
	" source TEXT NOT NULL, destination TEXT NOT NULL, options TEXT, phase TEXT NOT NULL,"
	" outcome TEXT, numbers TEXT, pid INTEGER NOT NULL, started INTEGER NOT NULL,"
	" ended INTEGER NOT NULL DEFAULT 0);"
	"CREATE INDEX moves_uuid ON moves(vm_uuid);"
	"CREATE TABLE events(id INTEGER PRIMARY KEY,"
	" move TEXT NOT NULL REFERENCES moves(id) ON DELETE CASCADE,"
	" time INTEGER NOT NULL, kind TEXT NOT NULL, text TEXT);"
	"CREATE INDEX events_move ON events(move);"
	"PRAGMA user_version = 1;";
/* "attention" is the outcome of a move whose end is not clear. */
#define UNFINISHED "(outcome IS NULL OR outcome = 'attention')"
_Static_assert(SCHEMA_VERSION == 1, "the last line of the schema says the same");

static bool fail_journal(struct journal *journal, GError **error)
{
	return error_set(error, WATARI_ERROR_INTERNAL, NULL, _("the journal %s: %s"), journal->path,
			 sqlite3_errmsg(journal->database));
}

char *journal_directory(void)
{
	const char *set = g_getenv("WATARI_STATE_DIR");
	if (set && *set)
		return g_strdup(set);
	if (geteuid() == 0)
		return g_strdup("/var/lib/watari");
	return g_build_filename(g_get_user_state_dir(), "watari", NULL);
}

static int64_t query_int(struct journal *journal, const char *sql)
{
	sqlite3_stmt *statement = NULL;
	int64_t value = -1;
	if (sqlite3_prepare_v2(journal->database, sql, -1, &statement, NULL) == SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW)
		value = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return value;
}

static bool execute(struct journal *journal, const char *sql, GError **error)
{
	if (sqlite3_exec(journal->database, sql, NULL, NULL, NULL) == SQLITE_OK)
		return true;
	return fail_journal(journal, error);
}

/* Two programs may come at once: the version is looked at again inside the transaction. */
static bool ensure_schema(struct journal *journal, GError **error)
{
	if (!execute(journal, "BEGIN IMMEDIATE", error))
		return false;
	int64_t version = query_int(journal, "PRAGMA user_version");
	if (version == SCHEMA_VERSION)
		return execute(journal, "COMMIT", error);
	if (version == 0 && execute(journal, schema, error))
		return execute(journal, "COMMIT", error);
	if (version != 0)
		error_set(error, WATARI_ERROR_INTERNAL,
			  _("Use the watari that wrote it, or move the file away."),
			  _("the journal %s has format %d, this program knows %d"), journal->path,
			  (int) version, SCHEMA_VERSION);
	execute(journal, "ROLLBACK", NULL);
	return false;
}

static bool open_database(struct journal *journal, GError **error)
{
	if (sqlite3_open_v2(journal->path, &journal->database,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK)
		return fail_journal(journal, error);
	sqlite3_busy_timeout(journal->database, BUSY_MS);
	return execute(journal,
		       "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
		       "PRAGMA foreign_keys = ON",
		       error) &&
	       ensure_schema(journal, error);
}

struct journal *journal_open(const char *directory, GError **error)
{
	g_autofree char *folder = directory ? g_strdup(directory) : journal_directory();
	if (g_mkdir_with_parents(folder, 0700) != 0) {
		error_set(error, WATARI_ERROR_INTERNAL,
			  _("Set WATARI_STATE_DIR to a directory that can be written."),
			  _("the journal's directory %s cannot be made: %s"), folder,
			  g_strerror(errno));
		return NULL;
	}
	struct journal *journal = g_new0(struct journal, 1);
	journal->path = g_build_filename(folder, "journal.sqlite", NULL);
	pthread_mutex_init(&journal->use, NULL);
	pthread_mutex_init(&journal->lock, NULL);
	wait_cond_init(&journal->changed);
	g_queue_init(&journal->taken);
	g_queue_init(&journal->notes);
	mode_t mask = umask(0077);
	bool good = open_database(journal, error);
	umask(mask);
	if (good)
		return journal;
	journal_close(journal);
	return NULL;
}

struct journal *journal_open_existing(const char *directory, GError **error)
{
	g_autofree char *folder = directory ? g_strdup(directory) : journal_directory();
	g_autofree char *path = g_build_filename(folder, "journal.sqlite", NULL);
	if (access(path, F_OK) != 0 && errno == ENOENT)
		return NULL;
	return journal_open(folder, error);
}

/* ---- notes: written in the background ---- */

static void note_free(void *data)
{
	struct note *note = data;
	g_free(note->id);
	g_free(note->kind);
	g_free(note->text);
	g_free(note);
}

/* Run SQL with its parameters from FORMAT: "s" for a string or NULL, "i" for an int64_t. The result is
 * SQLite's. */
static int run_statement(struct journal *journal, const char *sql, const char *format, va_list args)
{
	sqlite3_stmt *statement = NULL;
	int result = sqlite3_prepare_v2(journal->database, sql, -1, &statement, NULL);
	if (result != SQLITE_OK)
		return result;
	for (int i = 1; format[i - 1]; i++) {
		if (format[i - 1] == 'i')
			sqlite3_bind_int64(statement, i, va_arg(args, int64_t));
		else
			sqlite3_bind_text(statement, i, va_arg(args, const char *), -1,
					  SQLITE_TRANSIENT);
	}
	result = sqlite3_step(statement);
	sqlite3_finalize(statement);
	return result;
}

static int run_words(struct journal *journal, const char *sql, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int result = run_statement(journal, sql, format, args);
	va_end(args);
	return result;
}

#define INSERT_EVENT "INSERT INTO events(move, time, kind, text) VALUES(?,?,?,?)"

static void take_notes(struct journal *journal)
{
	pthread_mutex_lock(&journal->lock);
	while (!g_queue_is_empty(&journal->notes))
		g_queue_push_tail(&journal->taken, g_queue_pop_head(&journal->notes));
	pthread_mutex_unlock(&journal->lock);
}

/* Not written: they are the oldest again. */
static void give_notes_back(struct journal *journal)
{
	pthread_mutex_lock(&journal->lock);
	while (!g_queue_is_empty(&journal->taken))
		g_queue_push_head(&journal->notes, g_queue_pop_tail(&journal->taken));
	pthread_mutex_unlock(&journal->lock);
}

/* A note of a move without a row is of no use to anybody, and may not keep the others. */
static bool write_taken(struct journal *journal, GError **error)
{
	for (GList *at = journal->taken.head; at; at = at->next) {
		const struct note *note = at->data;
		int result = run_words(journal, INSERT_EVENT, "siss", note->id, note->time_s,
				       note->kind, note->text);
		if (result != SQLITE_DONE && result != SQLITE_CONSTRAINT)
			return fail_journal(journal, error);
	}
	return true;
}

/* With USE held: a transaction that begins with what was said until now, so that the order is kept. */
static bool begin_writing(struct journal *journal, GError **error)
{
	if (!execute(journal, "BEGIN IMMEDIATE", error))
		return false;
	take_notes(journal);
	if (write_taken(journal, error))
		return true;
	execute(journal, "ROLLBACK", NULL);
	give_notes_back(journal);
	return false;
}

static bool end_writing(struct journal *journal, bool good, GError **error)
{
	good = good && execute(journal, "COMMIT", error);
	if (good) {
		g_queue_clear_full(&journal->taken, note_free);
		return true;
	}
	execute(journal, "ROLLBACK", NULL);
	give_notes_back(journal);
	return false;
}

static bool write_notes(struct journal *journal, GError **error)
{
	pthread_mutex_lock(&journal->use);
	bool good = begin_writing(journal, error) && end_writing(journal, true, error);
	pthread_mutex_unlock(&journal->use);
	return good;
}

static void *write_in_background(void *data)
{
	struct journal *journal = data;
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	pthread_mutex_lock(&journal->lock);
	while (!journal->stop) {
		if (g_queue_is_empty(&journal->notes)) {
			pthread_cond_wait(&journal->changed, &journal->lock);
			continue;
		}
		pthread_mutex_unlock(&journal->lock);
		bool good = write_notes(journal, NULL);
		pthread_mutex_lock(&journal->lock);
		int64_t until_us = clock_now_us() + RETRY_US;
		while (!good && !journal->stop &&
		       wait_cond_until(&journal->changed, &journal->lock, until_us))
			;
	}
	pthread_mutex_unlock(&journal->lock);
	return NULL;
}

void journal_note_event(struct journal *journal, const char *id, const char *kind, const char *text)
{
	if (!journal)
		return;
	struct note *note = g_new0(struct note, 1);
	note->id = g_strdup(id);
	note->kind = g_strdup(kind);
	note->text = g_strdup(text);
	note->time_s = time(NULL);
	pthread_mutex_lock(&journal->lock);
	if (!journal->writing)
		journal->writing =
			pthread_create(&journal->writer, NULL, write_in_background, journal) == 0;
	g_queue_push_tail(&journal->notes, note);
	if (journal->notes.length > NOTES_MOST) {
		note_free(g_queue_pop_head(&journal->notes));
		journal->lost++;
	}
	pthread_cond_signal(&journal->changed);
	pthread_mutex_unlock(&journal->lock);
	test_hold_written(kind);
}

bool journal_flush(struct journal *journal, GError **error)
{
	if (!journal)
		return true;
	if (!write_notes(journal, error))
		return false;
	pthread_mutex_lock(&journal->lock);
	unsigned lost = journal->lost;
	pthread_mutex_unlock(&journal->lock);
	return lost == 0 ||
	       error_set(error, WATARI_ERROR_INTERNAL, NULL,
			 _("the journal %s: %u events could not be written"), journal->path, lost);
}

static void end_writer(struct journal *journal)
{
	pthread_mutex_lock(&journal->lock);
	bool writing = journal->writing;
	journal->stop = true;
	pthread_cond_signal(&journal->changed);
	pthread_mutex_unlock(&journal->lock);
	if (writing)
		pthread_join(journal->writer, NULL);
	if (!g_queue_is_empty(&journal->notes))
		write_notes(journal, NULL);
}

void journal_close(struct journal *journal)
{
	if (!journal)
		return;
	end_writer(journal);
	g_queue_clear_full(&journal->notes, note_free);
	sqlite3_close(journal->database);
	pthread_cond_destroy(&journal->changed);
	pthread_mutex_destroy(&journal->lock);
	pthread_mutex_destroy(&journal->use);
	g_free(journal->path);
	g_free(journal);
}

/* ---- what is on the disk before the call returns ---- */

/* As run_statement(), with all notes until now. */
static bool writer_thread(struct journal *journal, GError **error, const char *sql,
			  const char *format, ...)
{
	if (!journal)
		return true;
	va_list args;
	va_start(args, format);
	pthread_mutex_lock(&journal->use);
	bool good = begin_writing(journal, error);
	if (good) {
		good = run_statement(journal, sql, format, args) == SQLITE_DONE;
		if (!good)
			fail_journal(journal, error);
		good = end_writing(journal, good, error);
	}
	pthread_mutex_unlock(&journal->use);
	va_end(args);
	return good;
}

bool journal_begin(struct journal *journal, const struct journal_move *move, GError **error)
{
	/* It is kept small: the oldest moves go, with their events, once they have an end. */
	writer_thread(journal, NULL,
		      "DELETE FROM moves WHERE NOT " UNFINISHED
		      " AND rowid NOT IN (SELECT rowid FROM moves ORDER BY rowid DESC LIMIT ?)",
		      "i", (int64_t) KEPT_MOVES);
	return writer_thread(
		journal, error,
		"INSERT INTO moves(id, vm_name, vm_uuid, source, destination, options, phase,"
		" pid, started) VALUES(?,?,?,?,?,?,?,?,?)",
		"sssssssii", move->id, move->vm_name, move->vm_uuid, move->source,
		move->destination, move->options, move->phase, move->pid, move->started_s);
}

bool journal_set_phase(struct journal *journal, const char *id, const char *phase, GError **error)
{
	bool good = writer_thread(journal, error, "UPDATE moves SET phase = ? WHERE id = ?", "ss",
				  phase, id);
	test_hold_written(phase);
	return good;
}

bool journal_add_event(struct journal *journal, const char *id, const char *kind, const char *text,
		       GError **error)
{
	bool good = writer_thread(journal, error, INSERT_EVENT, "siss", id, (int64_t) time(NULL),
				  kind, text);
	test_hold_written(kind);
	return good;
}

bool journal_end(struct journal *journal, const char *id, const char *outcome, const char *numbers,
		 GError **error)
{
	return writer_thread(journal, error,
			     "UPDATE moves SET outcome = ?, numbers = ?, ended = ? WHERE id = ?",
			     "ssis", outcome, numbers, (int64_t) time(NULL), id);
}

/* ---- reading ---- */

/* What was said until now is read, too; where it cannot be written nobody needs to know of that here. */
static void begin_reading(struct journal *journal)
{
	pthread_mutex_lock(&journal->lock);
	bool due = !g_queue_is_empty(&journal->notes);
	pthread_mutex_unlock(&journal->lock);
	pthread_mutex_lock(&journal->use);
	if (due && begin_writing(journal, NULL))
		end_writing(journal, true, NULL);
}

static void end_reading(struct journal *journal)
{
	pthread_mutex_unlock(&journal->use);
}

static char *column_text(sqlite3_stmt *statement, int column)
{
	return g_strdup((const char *) sqlite3_column_text(statement, column));
}

static struct journal_move *read_move(sqlite3_stmt *statement)
{
	struct journal_move *move = g_new0(struct journal_move, 1);
	char **const texts[] = { &move->id,     &move->vm_name,     &move->vm_uuid,
				 &move->source, &move->destination, &move->options,
				 &move->phase,  &move->outcome,     &move->numbers };
	int column = 0;
	for (; column < (int) G_N_ELEMENTS(texts); column++)
		*texts[column] = column_text(statement, column);
	move->pid = sqlite3_column_int64(statement, column++);
	move->started_s = sqlite3_column_int64(statement, column++);
	move->ended_s = sqlite3_column_int64(statement, column++);
	move->number = sqlite3_column_int64(statement, column++);
	return move;
}

#define MOVE_COLUMNS                                                                          \
	"SELECT id, vm_name, vm_uuid, source, destination, options, phase, outcome, numbers," \
	" pid, started, ended, rowid FROM moves"

static GPtrArray *list_moves(struct journal *journal, const char *sql, const char *vm, int most,
			     GError **error)
{
	GPtrArray *moves =
		g_ptr_array_new_with_free_func((GDestroyNotify) (void (*)(void)) journal_move_free);
	sqlite3_stmt *statement = NULL;
	if (!journal)
		return moves;
	begin_reading(journal);
	int step = sqlite3_prepare_v2(journal->database, sql, -1, &statement, NULL);
	if (step == SQLITE_OK) {
		sqlite3_bind_text(statement, 1, vm, -1, SQLITE_TRANSIENT);
		sqlite3_bind_int(statement, 2, most);
		while ((step = sqlite3_step(statement)) == SQLITE_ROW)
			g_ptr_array_add(moves, read_move(statement));
	}
	if (step != SQLITE_DONE)
		fail_journal(journal, error);
	sqlite3_finalize(statement);
	end_reading(journal);
	return moves;
}

#define OF_VM " WHERE (?1 IS NULL OR vm_name = ?1 OR vm_uuid = ?1 OR id = ?1)"
/* the clock may have been set back in between */
#define NEWEST_FIRST " ORDER BY rowid DESC LIMIT ?2"

GPtrArray *journal_list(struct journal *journal, const char *vm, int most, GError **error)
{
	return list_moves(journal, MOVE_COLUMNS OF_VM NEWEST_FIRST, vm, most, error);
}

GPtrArray *journal_list_unfinished(struct journal *journal, const char *vm, GError **error)
{
	return list_moves(journal, MOVE_COLUMNS OF_VM " AND " UNFINISHED NEWEST_FIRST, vm, -1,
			  error);
}

/* The newest event of KIND; *text may be NULL where there is one. */
static bool find_event(struct journal *journal, const char *id, const char *kind, char **text)
{
	sqlite3_stmt *statement = NULL;
	bool found = false;
	*text = NULL;
	if (!journal)
		return false;
	begin_reading(journal);
	if (sqlite3_prepare_v2(journal->database,
			       "SELECT text FROM events WHERE move = ? AND kind = ?"
			       " ORDER BY id DESC LIMIT 1",
			       -1, &statement, NULL) != SQLITE_OK) {
		end_reading(journal);
		return false;
	}
	sqlite3_bind_text(statement, 1, id, -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(statement, 2, kind, -1, SQLITE_TRANSIENT);
	if (sqlite3_step(statement) == SQLITE_ROW) {
		*text = column_text(statement, 0);
		found = true;
	}
	sqlite3_finalize(statement);
	end_reading(journal);
	return found;
}

char *journal_find_event(struct journal *journal, const char *id, const char *kind)
{
	char *text = NULL;
	find_event(journal, id, kind, &text);
	return text;
}

bool journal_has_event(struct journal *journal, const char *id, const char *kind)
{
	g_autofree char *text = NULL;
	return find_event(journal, id, kind, &text);
}

void journal_move_free(struct journal_move *move)
{
	if (!move)
		return;
	char *const texts[] = { move->id,     move->vm_name,     move->vm_uuid,
				move->source, move->destination, move->options,
				move->phase,  move->outcome,     move->numbers };
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	g_free(move);
}

static void event_free(void *data)
{
	struct journal_event *event = data;
	journal_move_free(event->move);
	g_free(event->text);
	g_free(event);
}

GPtrArray *journal_list_events(struct journal *journal, const char *kind, int limit, GError **error)
{
	static const char sql[] =
		"SELECT moves.id, vm_name, vm_uuid, source, destination, options, phase, outcome,"
		" numbers, pid, started, ended, moves.rowid, events.text FROM events JOIN moves"
		" ON moves.id = events.move WHERE kind = ? ORDER BY events.id DESC LIMIT ?";
	enum { TEXT = 13 };
	GPtrArray *events = g_ptr_array_new_with_free_func(event_free);
	sqlite3_stmt *statement = NULL;
	if (!journal)
		return events;
	begin_reading(journal);
	bool good = sqlite3_prepare_v2(journal->database, sql, -1, &statement, NULL) == SQLITE_OK;
	int step = SQLITE_DONE;
	if (good) {
		sqlite3_bind_text(statement, 1, kind, -1, SQLITE_TRANSIENT);
		sqlite3_bind_int(statement, 2, limit);
		while ((step = sqlite3_step(statement)) == SQLITE_ROW) {
			struct journal_event *event = g_new0(struct journal_event, 1);
			event->move = read_move(statement);
			event->text = column_text(statement, TEXT);
			g_ptr_array_add(events, event);
		}
	}
	if (!good || step != SQLITE_DONE)
		fail_journal(journal, error);
	sqlite3_finalize(statement);
	end_reading(journal);
	if (good && step == SQLITE_DONE)
		return events;
	g_ptr_array_unref(events);
	return NULL;
}
