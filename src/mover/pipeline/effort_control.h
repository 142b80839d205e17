/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds content/effort.h with what the workers and the link do, and turns its answers into settings
 * of the codec. For all workers at once: it has a lock of its own. */
#pragma once
#include "content/batch.h"
#include "content/codec.h"
#include "content/effort.h"
#include "mover/core/transfer.h"

struct tempo;
struct tempo *tempo_new(struct run *run, unsigned workers);
void tempo_free(struct tempo *tempo);

/* How to pack BATCH; IN_STREAM: this worker has a codec stream of its own. */
enum effort_level tempo_choose(struct tempo *tempo, const struct batch *batch, bool in_stream,
			       struct codec_effort *effort);
/* It was packed so. */
struct tempo_packed {
	enum effort_level level;
	size_t body, packed; /* bytes */
	int64_t cpu_us, wall_us;
};
void tempo_note(struct tempo *tempo, const struct batch *batch, const struct tempo_packed *packed);
/* A worker is about to begin a frame. */
void tempo_look(struct tempo *tempo);
/* A worker waited so long for something to do. */
void tempo_idle(struct tempo *tempo, int64_t us);
/* ... for room to send what it has. */
void tempo_wait(struct tempo *tempo, int64_t us);
/* Is the link faster than any compressor? */
bool tempo_stores(struct tempo *tempo);
/* What the link is believed to carry, bytes a second; 0: no limit seen. */
double tempo_link_bytes_s(struct tempo *tempo);
/* What goes through at BYTES_S in a moment, within a useful size and MOST: of larger pieces so few are in the
 * window of a slow link that it stands idle between them. */
size_t tempo_moment(double bytes_s, size_t most);
/* Bytes of QEMU's stream that are worth one batch: such a moment of the link. More would only be more in hand
 * when the VM is stopped, all of which stands before its last pages. */
size_t tempo_portion(struct tempo *tempo);
/* What a byte of QEMU's stream has come to on the wire of late: 0 to 1. */
double tempo_share(struct tempo *tempo);
/* For the statistics. */
void tempo_describe(struct tempo *tempo, JsonObject *stats);
