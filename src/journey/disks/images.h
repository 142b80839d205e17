/* SPDX-License-Identifier: Apache-2.0 */
/* The images that this move made at the destination. They are written to the journal before they are
 * made, and removed when the VM is proven to be at the source; `watari resolve` does that for a
 * conductor that died. Never while it runs at the destination, or while that is unclear. */
#pragma once
#include "journey/state.h"

/* The image of DISK is about to be made at its destination, in the storage pool POOL or (NULL) as a
 * file; the return value is for images_note_made(). Main thread. */
unsigned images_note_intent(struct journey *journey, const struct journey_disk *disk,
			    const char *pool);
/* What was made; PATH NULL: nothing. */
void images_note_made(struct journey *journey, unsigned index, const char *path,
		      const char *identity);
/* Read what a move that broke off had noted. */
void images_read(struct journey *journey, const char *id);
/* Remove them; DESTINATION NULL: not connected, then volumes of pools stay, with a note. */
void images_remove(struct journey *journey, struct host *destination);
