/* SPDX-License-Identifier: Apache-2.0 */
/* Whether libvirt's Finish was said: the one call that starts the VM at the destination.
 *
 * A file of one line, "BOOT-ID LETTER", made before the migration begins. It lies in memory, where no
 * write waits for a disk and a reboot removes it: in $WATARI_RUN_DIR, or /run/watari for root, or
 * watari/ in the user's own runtime directory ($XDG_RUNTIME_DIR, /run/user/UID). Where none of these
 * can be used it lies beside the journal, and is on the disk before the migration begins. The letter
 * is overwritten in place while the VM stands still, and survives its writer's death. The boot id
 * says what became of it where the machine died: after that an old letter proves nothing.
 *
 * It fails closed: a letter that cannot be written takes the whole mark away, and no mark proves
 * nothing. Finish may not be said when that fails, too.
 *
 * Made by the main thread; finish_mark_set() may be called from any one thread at a time.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct finish_mark;
enum finish_said {
	FINISH_NOT_SAID, /* with "cancelled" does not count: nothing is started then */
	FINISH_SAID,
	FINISH_FAILED, /* and the destination answered that it did not start the VM */
};

/* Of move ID. NULL with WATARI_ERROR_INTERNAL: then nobody will ever prove that it was not said. */
struct finish_mark *finish_mark_new(const char *id, GError **error);
/* False: the mark says something else and cannot be removed, so what SAID means may not happen. MARK
 * may be NULL: then there is none that could say anything. */
bool finish_mark_set(struct finish_mark *mark, enum finish_said said);
void finish_mark_free(struct finish_mark *mark);
/* True: it is proven that the move never started the VM at its destination. */
bool finish_mark_proves_never(const char *id);
/* False: it is there and stays. */
bool finish_mark_remove(const char *id);
