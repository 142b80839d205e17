/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the destination's side of disks: what its files share. disk_destination.c carries out what comes,
 * disk_settle.c sees to it that references are what they should be. */
#pragma once
#include "nbd/writer.h"
#include "mover/disks/disk_destination.h"
#include "mover/disks/disk_fetch.h"
#include "mover/disks/disk_order.h"
#include "mover/disks/disk_verify.h"

struct disk_destination {
	struct transfer *transfer;
	struct tag_context *fold;
	struct disk_fetch *fetch;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under the lock */
	struct disk_writer *writers[KNOWN_DISKS_MAX];
	bool finished;
	struct disk_verify *verify[KNOWN_DISKS_MAX]; /* the emitter's; NULL: not asked for */

	/* the emitter's */
	bool open;           /* the disks are */
	uint64_t seed_pages; /* references to seeds so far (content/seed_pages.h) */
	uint8_t digests[KNOWN_DISKS_MAX][TAG_BYTES];
};

/* The move is refused, for ERROR; because the source mover makes no sense. Both return false. */
bool disk_destination_refuse(struct disk_destination *destination, const GError *error);
bool disk_destination_refuse_order(struct disk_destination *destination);
