/* SPDX-License-Identifier: Apache-2.0 */
/* Whether libvirt's Finish was said: the one call that starts the VM at the destination.
 *
 * A file of one line beside the journal, "BOOT-ID LETTER", made before the migration begins and put on
 * the disk then. The letter is overwritten in place while the VM stands still, so that costs no
 * transaction, no new block and no waiting for a disk: what was written survives its writer's death,
 * and after a crash of the whole machine the boot id is another one and the letter proves nothing.
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
/* MARK may be NULL. */
void finish_mark_set(struct finish_mark *mark, enum finish_said said);
void finish_mark_free(struct finish_mark *mark);
/* True: it is proven that the move never started the VM at its destination. */
bool finish_mark_proves_never(const char *id);
void finish_mark_remove(const char *id);
