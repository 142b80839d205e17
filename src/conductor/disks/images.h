/* SPDX-License-Identifier: Apache-2.0 */
/* What this move made at the destination: images, files, libvirt's secrets. They are written to the journal before they are
 * made, and removed when the VM is proven to be at the source; `watari resolve` does that for a
 * conductor that died. Never while it runs at the destination, or while that is unclear. */
#pragma once
#include "conductor/core/move.h"

struct images_intent {
	const char *path;   /* at the destination */
	const char *pool;   /* a volume of this storage pool; NULL: a file */
	const char *secret; /* no file but libvirt's secret of this UUID; NULL: none */
	const char *kept;   /* what lies there is kept under this name before; NULL: nothing does */
	const char
		*token; /* by which the file is known (image_own_name()); NULL: it is empty first */
};
/* An image is about to be made; *index is for images_note_made(). False, with WATARI_ERROR_REFUSED: that
 * could not be written down, and it may not be made. Main thread. */
bool images_note_intent(struct move *move, const struct images_intent *intent, unsigned *index,
			GError **error);
/* It was made, with IDENTITY; NULL: nothing was, as far as is known. Likewise. */
bool images_note_made(struct move *move, unsigned index, const char *identity, GError **error);
/* Read what a move that broke off had noted. */
void images_read(struct move *move, const char *id);
/* How many of them are secrets. */
int images_count_secrets(struct move *move);
/* Remove them; DESTINATION NULL: not connected, then volumes of pools and secrets stay, with a note. */
void images_remove(struct move *move, struct host *destination);
