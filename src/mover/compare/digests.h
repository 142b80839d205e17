/* SPDX-License-Identifier: Apache-2.0 */
/* Digests of files that are too large to be read whole before a migration, and that nobody writes to: the images that
 * others stand on. They are read at leisure while a migration copies memory, at a bounded rate and past the page
 * cache, and what was found is kept:
 *
 *   $WATARI_STATE_DIR or /var/lib/watari, digests/<SHA-256 of path>   the file below, mode 0600
 *
 *    0  "WATARI-D"         8  u32 version, u32 zero    16  u64 bytes of the file   24  u64 device
 *   32  u64 file system   40  u64 inode                48  u64 mtime, ns           56  u64 ctime, ns
 *   64  u64 bytes that were read so far                72  32 bytes: the digest so far
 *
 * All integers are little-endian. A file that cannot be one is as good as none. The digest is a chain of SHA-256, over
 * what was before it, the offset and the content of each MiB that is not zero; so it is the same whether or not there are
 * holes, and goes on where an earlier migration ended.
 *
 * It counts while all the file's numbers are as they were. Who writes to a file of a local file system changes its ctime,
 * which no call sets; on others another host may have written, so nothing is kept of them, nor of block
 * devices, nor of a file that was changed within CHANGED_LATELY_S before it was read. Whoever believes a kept digest
 * compares a sample of today, too.
 *
 * Thread rules: main thread; the task's own reads. Memory: 1 MiB.
 */
#pragma once
#include "base/task.h"

#include <stdint.h>

#define DIGEST_BYTES 32

/* Is the digest of all of PATH known? Any thread. */
bool digests_recall(const char *path, uint8_t digest[DIGEST_BYTES]);

/* Reads PATHS one after the other, at BYTES_S at the most; what cannot be read or kept is left out. The answer is the
 * event “digests”, with `known`: of so many of them all is known now. What was found until it is freed is kept. */
struct task *digests_start(GPtrArray *paths, int64_t bytes_s,
			   void (*send)(JsonObject *answer, void *data), void *data);
