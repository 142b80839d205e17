/* SPDX-License-Identifier: Apache-2.0 */
/* Seeds at the destination: images that it has already. A thread looks through them and offers what it finds
 * to the source: what is kept from before at once, then what is there now, in bounded time and with a
 * bounded rate; and keeps it for the next time.
 */
#pragma once
#include "mover/core/transfer.h"

struct seeds;
/* Opens the images and tells the source of them; starts the thread. run->seeds is what it returns, also
 * when it fails. An image that cannot be read is told and left out. */
struct seeds *seeds_start(struct transfer *transfer, GError **error);
/* The move is over. */
void seeds_finish(struct seeds *seeds);
/* After its thread has ended. */
void seeds_free(struct seeds *seeds);
uint64_t seeds_bytes(const struct seeds *seeds, unsigned seed);
/* For disk_fetch.h; NULL: it cannot be read. */
struct disk_reader *seeds_reader(const struct seeds *seeds, unsigned seed);

/* The source's part: the first words of the destination, before anything is sorted. */
bool seeds_receive(struct transfer *transfer, uint64_t bytes[KNOWN_SEEDS_MAX], GError **error);
