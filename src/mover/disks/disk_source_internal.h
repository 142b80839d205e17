/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the source's side of disks: what its files share. disk_source.c has its life and its connections,
 * disk_requests.c what QEMU asks for, disk_answers.c what the destination answers. */
#pragma once
#include "content/reading.h"
#include "content/seed_pages.h"
#include "nbd/nbd_server.h"
#include "mover/disks/disk_rehearse_hold.h"
#include "mover/disks/disk_order.h"
#include "mover/disks/disk_source.h"

#define SESSIONS_MAX (2 * KNOWN_DISKS_MAX) /* QEMU opens one for each disk */

/* A request that waits for an answer of the destination. */
struct waiting {
	uint64_t number;
	struct nbd_request *request;
	uint64_t left;             /* READ: bytes to come */
	uint8_t digest[TAG_BYTES]; /* FLUSH: of all that was before it */
};

struct session {
	struct disk_source *source;
	pthread_t thread;
	int fd;
};

struct disk_source {
	struct transfer *transfer;
	struct tag_context *fold;
	struct nbd_export exports[KNOWN_DISKS_MAX]; /* once it is open */

	/* under run->sorting */
	struct reading reading;
	uint8_t digests[KNOWN_DISKS_MAX][TAG_BYTES];
	uint64_t written[KNOWN_DISKS_MAX], zeroed[KNOWN_DISKS_MAX]; /* bytes that QEMU wrote */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under the lock */
	bool opening, open, broken;
	bool offered;          /* the destination has looked through its seeds */
	int64_t offers_due_us; /* until then it is waited for that; 0: nothing was written yet */
	uint64_t rate;  /* bytes a second that QEMU may write, all disks together; 0: no cap */
	int64_t due_us; /* when the next byte may be taken */
	uint64_t next_number;
	GPtrArray *waiting; /* struct waiting */
	unsigned session_count;
	struct session sessions[SESSIONS_MAX];
	uint64_t flushes[KNOWN_DISKS_MAX];
	uint64_t asked;                          /* pages that a seed did not have */
	struct disk_rehearse_hold rehearse_hold; /* of a rehearsal */
};

/* A request of QEMU's; SOURCE is a struct disk_source. Any session's thread. */
void disk_requests_handle(struct nbd_request *request, void *source);
/* Sends ORDER, which nobody waits for (DATA: of DISK_BYTES). False: the move is over. */
bool disk_requests_send(struct disk_source *source, const struct disk_order *order,
			const uint8_t *data);
/* With the lock held: until then, or until something changes. */
void disk_source_wait(struct disk_source *source, int64_t due_us);
/* The thread; RUN is a struct run. */
void *disk_answers_thread(void *transfer);
/* Who still waits gets an error: QEMU's mirror fails, the VM goes on at the source. */
void disk_answers_fail(struct disk_source *source);
