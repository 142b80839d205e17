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

/* An image that the destination has already, whose blocks may be referred to. */
struct seed_setting {
	char *path, *format;
};

struct disks {
	unsigned count, seed_count;
	uint64_t rate; /* bytes a second that QEMU may write at first, 0: no cap */
	bool verify;   /* read back what was written, before the destination may run */
	struct disk_setting disks[KNOWN_DISKS_MAX];
	struct seed_setting seeds[KNOWN_SEEDS_MAX];
};

/* Every field is checked; false with a message that names the field. DISKS has none, or no seeds, before. */
bool disks_parse(struct disks *disks, JsonObject *message, GError **error);
bool disks_parse_seeds(struct disks *disks, JsonObject *message, GError **error);
void disks_free(struct disks *disks);
