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

struct page_requests;
struct page_requests *page_requests_new(void);
void page_requests_free(struct page_requests *requests);

/* A message of the return path was handed on. BLOCKS: the guest's, to find names in. */
void page_requests_ask(struct page_requests *requests, const struct return_message *message,
		       const struct stream_block *blocks, uint32_t count);
/* BATCH was read: which questions does it answer? Sets batch->asked_us. */
void page_requests_answer(struct page_requests *requests, struct batch *batch);
/* It was committed as frame number FRAME (from 1 on); CONSUMED of all have arrived. */
void page_requests_sent(struct page_requests *requests, const struct batch *batch, uint64_t frame);
void page_requests_arrived(struct page_requests *requests, uint64_t consumed);
/* Some have been sent and are not known to have arrived. */
bool page_requests_are_under_way(struct page_requests *requests);
/* Count, and mean, 95th percentile (about) and longest of each time in microseconds; NULL: no question. */
JsonObject *page_requests_describe(struct page_requests *requests);
