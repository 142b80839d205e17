/* SPDX-License-Identifier: Apache-2.0 */
/* In post-copy the destination's QEMU asks for the pages that the guest waits for. The source's mover
 * hands each question on to its QEMU and watches for the answer in the stream: from that follows how long
 * the guest waits, and where. Nothing is decided here.
 *
 * Times are counted from the moment that the question was handed on:
 *   answered  QEMU's page was read from its socket: what QEMU and the queue before it took
 *   sent      its frame was given to the link
 *   arrived   the destination's mover says that it handed it on: with a round trip, as the guest sees it
 *
 * Any thread. At most the last REQUESTS_MAX questions are watched.
 */
#pragma once
#include "base/json.h"
#include "content/batch.h"
#include "stream/return_path.h"

#define REQUESTS_MAX 256

struct requests;
struct requests *requests_new(void);
void requests_free(struct requests *requests);

/* A message of the return path was handed on. BLOCKS: the guest's, to find names in. */
void requests_ask(struct requests *requests, const struct return_message *message,
		  const struct stream_block *blocks, uint32_t count);
/* BATCH was read: which questions does it answer? Sets batch->asked_us. */
void requests_answer(struct requests *requests, struct batch *batch);
/* It was committed as frame number FRAME (from 1 on); CONSUMED of all have arrived. */
void requests_sent(struct requests *requests, const struct batch *batch, uint64_t frame);
void requests_arrived(struct requests *requests, uint64_t consumed);
/* Some have been sent and are not known to have arrived. */
bool requests_are_under_way(struct requests *requests);
/* Count, and mean, 95th percentile (about) and longest of each time in microseconds; NULL: no question. */
JsonObject *requests_describe(struct requests *requests);
