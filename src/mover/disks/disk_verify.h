/* SPDX-License-Identifier: Apache-2.0 */
/* Reads back what was written to a disk at the destination, and compares it with what the source sent.
 *
 * What the source sent is known by the tag of each block (content/known.h), which both sides agree on. A
 * block that was written in part, or that has no room in the table, is skipped and counted. What is all zeros
 * in 2 MiB is not read. What was read once and not written since is not read again: so the first time
 * takes long, while the guest runs, and the last one, while it stands still, need not.
 *
 * Thread rules: the emitter's thread.
 */
#pragma once
#include "content/resolver.h"
#include "mover/disks/disk_fetch.h"
#include "mover/core/transfer.h"

struct disk_verify;
/* Of disk number DISK with BYTES. */
struct disk_verify *disk_verify_new(struct transfer *transfer, unsigned disk, uint64_t bytes);
void disk_verify_free(struct disk_verify *verify);
/* Something is written there. NULL as VERIFY: nothing is verified. */
void disk_verify_note(struct disk_verify *verify, uint64_t offset, uint64_t length);
/* False with what differs, or cannot be read. */
bool disk_verify_run(struct disk_verify *verify, const struct resolver *resolver,
		     struct disk_reader *reader, GError **error);
