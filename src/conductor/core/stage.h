/* SPDX-License-Identifier: Apache-2.0 */
/* What this program writes down before it does it. Whoever finds its journal after it died decides by that
 * what may run, what is removed and what is given back, so a stage that is not on the disk is one
 * that nobody knows of. All of them are in one table, with what becomes of a journal that cannot be
 * written:
 *
 *   before it is done     it is not done. Where the VM still runs, the move is refused or broken off; where it
 *                         stands still at the source, it goes on there; a copy that waits goes on waiting.
 *   when it is done       stopping would be worse: it is said, with what that means for “watari resolve”.
 *
 * A move that found no journal when it began goes on without (that is said then), but for what would be
 * lost with its conductor. Main thread, and what move_call() runs. Only inside src/conductor.
 */
#pragma once
#include "conductor/core/move.h"

enum stage {
	STAGE_PRIVATE_FILES,
	STAGE_IMAGES,
	STAGE_BELONGINGS,
	STAGE_BEFORE,
	STAGE_POSTCOPY_ASKED,
	STAGE_SUSPENDING,
	STAGE_DEFINING,
	STAGE_THROUGH_STOPPED,
	STAGE_THROUGH_DIGEST,
	STAGE_THROUGH_LEFT,
	STAGE_THROUGH_RESUMED,
	STAGE_THROUGH_BACK,
	STAGE_THROUGH_RESTORED,
	/* done */
	STAGE_IMAGES_REMOVED,
	STAGE_BELONGINGS_GIVEN,
	STAGE_BEFORE_RESTORED,
	STAGE_POSTCOPY,
	STAGE_LAST
};

/* Its kind in the journal. */
const char *stage_name(enum stage stage);
/* On the disk when it returns true. False: it may not be done, and *error says why. TEXT as in
 * journal_add_event(). */
bool stage_enter(struct move *move, enum stage stage, const char *text, GError **error);
/* The same for one that is lost with its conductor if nobody finds a journal: it is not done without. */
bool stage_enter_recorded(struct move *move, enum stage stage, const char *text, GError **error);
/* Move ID has entered one at least: something was changed. */
bool stage_any(struct journal *journal, const char *id);
/* What STAGE names is done. */
void stage_note_done(struct move *move, enum stage stage);
