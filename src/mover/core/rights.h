/* SPDX-License-Identifier: Apache-2.0 */
/* What a mover may do. It has to be root: it opens other users' images, reads QEMU's memory,
 * speaks for the guest on its bridge. But it also parses what another host sends, so it keeps of
 * root what it needs, and asks the kernel for nothing else once its threads run.
 *
 *   rights_drop()     at the start, before threads: capabilities (also out of the bounding set, so for its
 *                     children too), no new privileges, not dumpable, no core, and no memory in one that is made all the
 *                     same (of a helper, which is dumpable again). With that a crash writes neither guest memory nor the
 *                     key to a disk, and nobody but root's own may look inside.
 *   rights_confine()  when the pipelines run: a seccomp filter of the calls that they make, in all threads.
 *                     Every other call fails with EPERM.
 *
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Bits of linux/capability.h that are kept. */
extern const uint64_t rights_kept;

void rights_drop(void);
/* For a program that this process becomes: USER, with that user's groups and no capability; -1: root still, who may
 * open other users' files and nothing else. False: it may not (errno). */
bool rights_become(int64_t user);
/* And nothing of root at all, for a child that only watches. */
void rights_drop_all(void);
/* EXECUTES: it starts qemu-nbd. False when the kernel does not take the filter. */
bool rights_confine(bool executes);
