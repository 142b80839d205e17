/* SPDX-License-Identifier: Apache-2.0 */
/* The journal of moves: what `watari resolve` needs when a conductor died, and the history.
 *
 * A SQLite file in $WATARI_STATE_DIR, or /var/lib/watari for root, or ~/.local/state/watari. What
 * must be known to whoever cleans up after a killed conductor is on the disk before the call returns
 * (WAL, synchronous FULL); that may wait for the disk, and up to 10 s for a lock of somebody else's. What
 * only tells how a move went is a note: journal_note_event() never waits, a thread writes in the same order,
 * and before anything that is said or asked later. A migration that finds no journal that it can write goes
 * on without, and says so: every function here accepts NULL. What becomes of one whose journal fails
 * later is in conductor/core/stage.h.
 *
 * Thread rules: any thread, but for opening and closing. Errors: WATARI_ERROR_INTERNAL.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct journal;

/* One move. Strings are owned by the struct; NULL where unknown. */
struct journal_move {
	char *id; /* 32 hex digits */
	char *vm_name, *vm_uuid;
	char *source, *destination; /* addresses as the user gave them; "" is this machine */
	char *options;              /* JSON: what resolve must know of the request */
	char *phase;                /* stable word of the last phase entered */
	char *outcome;              /* stable word; NULL while it runs or when it was killed */
	char *numbers;              /* JSON of the closing report */
	int64_t pid;                /* of the conductor */
	int64_t started_s, ended_s; /* since the epoch; 0: not ended */
	int64_t number;             /* in the order in which moves were begun */
};

/* The default directory. Caller frees. */
char *journal_directory(void);
/* DIRECTORY NULL: the default one. Creates what is missing, 0700. */
struct journal *journal_open(const char *directory, GError **error);
/* For who only reads: NULL without *error where no journal is; none is made. */
struct journal *journal_open_existing(const char *directory, GError **error);
void journal_close(struct journal *journal);

/* A new move; `id`, VM, hosts, options, phase, pid and started_s are taken from MOVE. */
bool journal_begin(struct journal *journal, const struct journal_move *move, GError **error);
bool journal_set_phase(struct journal *journal, const char *id, const char *phase, GError **error);
/* TEXT (JSON or words) beside the time, under KIND. */
bool journal_add_event(struct journal *journal, const char *id, const char *kind, const char *text,
		       GError **error);
/* The same for what nobody's safety hangs on. Never waits; lost if this process is killed at once. */
void journal_note_event(struct journal *journal, const char *id, const char *kind,
			const char *text);
/* All notes are on the disk. */
bool journal_flush(struct journal *journal, GError **error);
bool journal_end(struct journal *journal, const char *id, const char *outcome, const char *numbers,
		 GError **error);

/* The newest MOST moves of VM (name, UUID, or a move's id; NULL: of all), newest first: struct
 * journal_move. Never NULL; what could be read comes with *error too. */
GPtrArray *journal_list(struct journal *journal, const char *vm, int most, GError **error);
/* All of VM without a clear end: killed, still being driven, or with the outcome "attention". They are
 * never dropped. As journal_list(). */
GPtrArray *journal_list_unfinished(struct journal *journal, const char *vm, GError **error);
/* The newest text under KIND of move ID, or NULL. Caller frees. */
char *journal_find_event(struct journal *journal, const char *id, const char *kind);
bool journal_has_event(struct journal *journal, const char *id, const char *kind);
/* An event with the move that it belongs to. */
struct journal_event {
	struct journal_move *move;
	char *text;
};
/* The newest events of KIND, at most LIMIT of them, newest first; NULL with *error: they cannot be read. */
GPtrArray *journal_list_events(struct journal *journal, const char *kind, int limit,
			       GError **error);
void journal_move_free(struct journal_move *move);
