/* SPDX-License-Identifier: Apache-2.0 */
/* The images that this move made at the destination. They are written to the journal before they are
 * made, and removed when the VM is proven to be at the source; `watari resolve` does that for a
 * conductor that died. Never while it runs at the destination, or while that is unclear. */
#pragma once
#include "journey/state.h"

/* An image is about to be made at PATH of the destination, in the storage pool POOL or (NULL) as a
 * file; what lies there is kept as KEPT before (NULL: nothing does). The return value is for
 * images_note_made(). Main thread. */
unsigned images_note_intent(struct journey *journey, const char *path, const char *pool,
			    const char *kept);
/* What was made; PATH NULL: nothing. */
void images_note_made(struct journey *journey, unsigned index, const char *path,
		      const char *identity);
/* Read what a move that broke off had noted. */
void images_read(struct journey *journey, const char *id);
/* Remove them; DESTINATION NULL: not connected, then volumes of pools stay, with a note. */
void images_remove(struct journey *journey, struct host *destination);
