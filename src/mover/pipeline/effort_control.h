/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds content/effort.h with what the workers and the link do, and turns its answers into settings
 * of the codec. For all workers at once: it has a lock of its own. */
#pragma once
#include "content/batch.h"
#include "content/codec.h"
#include "content/effort.h"
#include "mover/core/transfer.h"

struct effort_control;
struct effort_control *effort_control_new(struct transfer *transfer, unsigned workers);
void effort_control_free(struct effort_control *effort_control);

/* How to pack BATCH; IN_STREAM: this worker has a codec stream of its own. */
enum effort_level effort_control_choose(struct effort_control *effort_control,
					const struct batch *batch, bool in_stream,
					struct codec_effort *effort);
/* It was packed so. */
struct effort_control_packed {
	enum effort_level level;
	size_t body, packed; /* bytes */
	int64_t cpu_us, wall_us;
};
void effort_control_note(struct effort_control *effort_control, const struct batch *batch,
			 const struct effort_control_packed *packed);
/* A worker is about to begin a frame. */
void effort_control_look(struct effort_control *effort_control);
/* A worker waited so long for something to do. */
void effort_control_idle(struct effort_control *effort_control, int64_t us);
/* ... for room to send what it has. */
void effort_control_wait(struct effort_control *effort_control, int64_t us);
/* Is the link faster than any compressor? */
bool effort_control_stores(struct effort_control *effort_control);
/* What the link is believed to carry, bytes a second; 0: no limit seen. */
double effort_control_link_bytes_s(struct effort_control *effort_control);
/* What goes through at BYTES_S in a moment, within a useful size and MOST: of larger pieces so few are in the
 * window of a slow link that it stands idle between them. */
size_t effort_control_moment(double bytes_s, size_t most);
/* Bytes of QEMU's stream that are worth one batch: such a moment of the link. More would only be more in hand
 * when the VM is stopped, all of which stands before its last pages. */
size_t effort_control_portion(struct effort_control *effort_control);
/* What a byte of QEMU's stream has come to on the wire of late: 0 to 1. */
double effort_control_share(struct effort_control *effort_control);
/* For the statistics. */
void effort_control_describe(struct effort_control *effort_control, JsonObject *stats);
