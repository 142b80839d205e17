/* SPDX-License-Identifier: Apache-2.0 */
/* The proofs of phase_share.c for paths of one's own, and what they are asked about. Only inside src/conductor. */
#pragma once
#include "conductor/core/move.h"

/* PATH, which the VM only reads and which belongs to NAME (a disk's target, "kernel"...), has the same
 * content at both hosts, or the user says so. Where the destination has none, *missing says so; NULL:
 * that is refused, too. False: refused, with the reason and what to do. */
bool share_prove_readable(struct move *move, const char *name, const char *path, bool *missing,
			  GError **error);
/* The paths below DISK, as its images say, for nobody has it open (chain.c). Free with g_strfreev. */
bool share_list_chain(struct move *move, const struct disk *disk, char ***paths, GError **error);
/* Do both hosts see the same directory around PATH, which need not be there? The movers are running. */
bool share_prove(struct move *move, const char *path, bool *same, GError **error);
