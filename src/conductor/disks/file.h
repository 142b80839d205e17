/* SPDX-License-Identifier: Apache-2.0 */
/* One of the files of files.h, for the files that make and copy them. */
#pragma once
#include "conductor/core/move.h"

struct move_file {
	char *target;             /* "sda", "kernel", "nvram", "tpm" */
	char *path, *destination; /* at the source, at the destination */
	bool directory;           /* with all that is in it */
	bool keep;                /* what lies at its place there is kept aside */
	bool changes;             /* meanwhile, and what QEMU brings later is newer */
	char *kept;               /* where what lay there is kept; NULL: nothing did */
	uint64_t size;
	uint64_t sent; /* bytes that went over */
};

/* A new one in the move's list, which owns it. */
struct move_file *file_new(struct move *move, const char *target, const char *path,
			   const char *destination);
