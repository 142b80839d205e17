/* SPDX-License-Identifier: Apache-2.0 */
/* Quick migration without a path between the hosts, through a directory that both see (--through).
 *
 *   source                                   destination
 *   stop the VM             BEFORE→STOPPED
 *   its state into a file; QEMU stays, stopped
 *   digest of the file                       check of the digest
 *   end the stopped QEMU    STOPPED→LEFT
 *                                            restore from the file, paused
 *                                 LEFT→RESUMED
 *                                            go on
 *
 * So a file that cannot be read there costs nothing: the stopped QEMU goes on. Only between LEFT and
 * RESUMED the file is all there is; what was restored from it has not run, so it may be restored from
 * again (BACK, then RESTORED at the source). After RESUMED it may have run and nobody restores.
 *
 * A stage is in the journal before what it stands for is done, and without a journal nothing is begun.
 * docs/guard.md goes through every point at which this program may die. Only inside src/conductor.
 */
#pragma once
#include "conductor/endings/ending.h"
#include "conductor/core/move.h"

struct through {
	char *path; /* of the state */
	enum ending_through stage;
	char *sha256;  /* of the state, as the source saved it; NULL: it was not taken */
	char *checked; /* which file was found to be that by the last through_check(); or NULL */
	bool persist;  /* defined at the destination */
	int64_t saving_ms; /* it took so long to write the state */
	/* sides that were given an order (to end, to restore or to resume) whose answer never came: where
	 * the connection is lost, too, it may still be on its way */
	bool ordered[MOVE_SIDES];
};

struct through *through_new(const char *path);
void through_free(struct through *through);
/* Write it down, then take it for true. A journal that fails is an error. */
bool through_enter(struct move *move, enum ending_through stage, GError **error);
/* What a move that broke off had written down. */
void through_read(struct move *move, const char *id);

/* `watari mover --saved ACTION` at SIDE; see mover/chores/saved_state.h. *answer (may be NULL) gets its words. */
bool through_file(struct move *move, enum move_side side, const char *action, JsonObject **answer,
		  GError **error);
/* The state has this digest: kept, and written down for resolve. */
bool through_note_digest(struct move *move, const char *sha256, GError **error);
/* What SIDE is about to restore from is what the source saved. What lies beside the file does not decide
 * that: whoever can replace the one can replace the other. */
bool through_check(struct move *move, enum move_side side, GError **error);
/* SIDE still has the very file that was checked, as it was: to be asked right before what trusts it, for the check
 * reads all of it and takes its time. */
bool through_is_unchanged(struct move *move, enum move_side side, GError **error);
/* The VM is proven to be somewhere: the state and its digest go. */
void through_remove(struct move *move);
