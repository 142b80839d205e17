/* SPDX-License-Identifier: Apache-2.0 */
/* Which disks move along: what the conductor's `disks` message says (docs/control.md), at both hosts. */
#pragma once
#include "base/json.h"
#include "content/known.h"

struct disk_setting {
	char *target; /* "vda", for messages */
	char *export; /* its name for both QEMUs */
	char *path;   /* of the image at the destination; NULL: not told */
	char *format;
	bool fresh; /* the image was just made: it reads as zeros */
};

struct disks {
	unsigned count;
	struct disk_setting disks[KNOWN_DISKS_MAX];
};

/* Every field is checked; NULL with a message that names the field. */
struct disks *disks_parse(JsonObject *message, GError **error);
void disks_free(struct disks *disks);
