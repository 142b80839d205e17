/* SPDX-License-Identifier: Apache-2.0 */
/* The source's workers: sorted batches into frames of the link, in the order of submission.
 *
 * Batches go round: the reader takes an empty one, fills and sorts it, submits it; a worker packs it
 * into a frame, waits for its turn, commits the frame, and the batch is empty again. So what is in
 * hand is bounded by the number of batches, and a slow link holds the reader (and with it QEMU) back.
 *
 * Memory: ENCODERS_BATCHES(workers) batches.
 */
#pragma once
#include "content/batch.h"
#include "mover/core/transfer.h"

#define ENCODERS_BATCHES(workers) (2 * (workers) + 2)

struct encoders;
/* Starts workers_count(run) threads; run->encoders is what it returns, also when it fails. */
struct encoders *encoders_start(struct transfer *transfer, GError **error);
/* After its threads have ended (transfer_free joins them). */
void encoders_free(struct encoders *encoders);

/* An empty batch; NULL once the link has failed or all is finished. Blocks. */
struct batch *encoders_take(struct encoders *encoders);
/* Takes the batch over. */
void encoders_submit(struct encoders *encoders, struct batch *batch);
/* One that was taken and is not needed. */
void encoders_give_back(struct encoders *encoders, struct batch *batch);
/* Waits until all that was submitted is committed, and ends the workers. False when the link has
 * failed: some of them may be at it still. */
bool encoders_finish(struct encoders *encoders);
/* So many of its frames has the destination handed on. */
uint64_t encoders_frames_arrived(struct encoders *encoders);
/* So many references to seeds has the destination taken in (content/seed_pages.h). */
uint64_t encoders_seeds_taken(struct encoders *encoders);
/* Would batches be packed at all now? No: they should be sorted as PLAIN. */
bool encoders_store(struct encoders *encoders);
/* Bytes of QEMU's stream that a batch should hold (effort_control_portion). */
size_t encoders_portion(struct encoders *encoders);
/* Bytes of QEMU's stream that were submitted and not committed yet. Any thread. */
uint64_t encoders_in_hand(struct encoders *encoders);
/* What a byte of QEMU's stream has come to on the wire of late: 0 to 1. Any thread. */
double encoders_share(struct encoders *encoders);
/* What the link is believed to carry, bytes a second; 0: no limit seen. */
double encoders_link_bytes_s(struct encoders *encoders);
/* For the statistics: which efforts, and why. Any thread. */
void encoders_describe(struct encoders *encoders, JsonObject *stats);
