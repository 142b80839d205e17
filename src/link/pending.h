/* SPDX-License-Identifier: Apache-2.0 */
/* One connection on its way to be a lane's, of the keeper's thread alone.
 *
 *   connect -> handshake -> (destination) say hello -> hear hello -> lane
 *                           (source)      hear hello -> say hello -> lane
 *
 * Each hello may be followed by the trial (wire.h). Nothing here blocks. No stage lasts longer
 * than five seconds without a byte that passes; strangers get as far as the TLS handshake. Only
 * inside src/link.
 *
 */
#pragma once
#include "link/internal.h"

enum stage { STAGE_CONNECT, STAGE_HANDSHAKE, STAGE_SAY, STAGE_HEAR, STAGE_DONE };

struct pending {
	struct link *link;
	enum stage stage;
	struct channel *channel;
	bool dialled;
	int lane;                                /* -1: not known yet */
	uint32_t taken;                          /* lanes of the others, set by the keeper */
	int64_t began_us, moved_us, deadline_us; /* moved: bytes did */
	struct wire_decoder decoder;
	struct wire_hello heard;
	uint8_t out[WIRE_HEADER_BYTES + WIRE_HELLO_BYTES];
	size_t out_length, out_done;
	bool has_heard; /* the hello */
	uint32_t trial_to_send, trial_to_come;
};

/* Takes over FD. LANE: for which it was dialled; -1: somebody came. */
struct pending *pending_new(struct link *link, int fd, int lane, int64_t now_us);
void pending_free(struct pending *pending);

enum pending_answer { PENDING_WAITS, PENDING_DONE, PENDING_DEAD };
/* As far as it gets now. DONE: `lane` is known, and `channel` is its. */
enum pending_answer pending_step(struct pending *pending, int64_t now_us);
short pending_wants(const struct pending *pending);
void pending_note_problem(struct link *link, const struct pending *pending, const char *problem);
