/* SPDX-License-Identifier: Apache-2.0 */
/* What the conductor tells a mover once, in `setup` (docs/control.md). */
#pragma once
#include "base/json.h"
#include "content/tag.h"
#include "link/link.h"

/* Of `memory_limit` and `cores`. */
#define MOVER_MEMORY_LEAST (64LL * 1024 * 1024)
#define MOVER_MEMORY_DEFAULT (512LL * 1024 * 1024)
#define MOVER_CORES_MOST 256

enum mover_role { MOVER_SOURCE, MOVER_DESTINATION };
enum mover_verify { MOVER_VERIFY_NONE, MOVER_VERIFY_SAMPLE, MOVER_VERIFY_FULL };

/* Words of `faults`; only builds with -Dfaults=true carry them out. */
enum mover_fault {
	MOVER_FAULT_PAGE = 1 << 0,      /* destination: flip a bit in a decoded page */
	MOVER_FAULT_DEVICE = 1 << 1,    /* destination: flip a bit in the decoded device state */
	MOVER_FAULT_LATE_PAGE = 1 << 2, /* destination: the same after its tag was checked */
	MOVER_FAULT_GATE = 1 << 3,    /* source: wait 3 s at the gate (for kills and cuts there) */
	MOVER_FAULT_UNKNOWN = 1 << 4, /* source: the reader is fed a stream it cannot know */
	MOVER_FAULT_RELEASE = 1 << 5, /* source: wait 3 s between the decision and its word */
	/* source: an encoder lies, once in each batch that it has a part in */
	MOVER_FAULT_LIE_BYTES = 1 << 6,
	MOVER_FAULT_LIE_ZERO = 1 << 7,
	MOVER_FAULT_LIE_LITERAL = 1 << 8,
	MOVER_FAULT_LIE_SAME = 1 << 9,
	MOVER_FAULT_LIE_REFERENCE = 1 << 10,
	MOVER_FAULT_LIE_DELTA = 1 << 11,
	MOVER_FAULT_LIE_PACKED = 1 << 12,
	MOVER_FAULT_SLOW_LOOK = 1 << 13, /* the last look at the memory is 6 s late */
	MOVER_FAULT_SLOW_READ = 1 << 14, /* every file is too large to be read whole at once */
};

struct mover_setup {
	enum mover_role role;
	char id[33]; /* 32 hex digits */
	uint8_t key[LINK_KEY_BYTES];
	unsigned connections;
	char *vm_name, *vm_uuid;
	char *socket_dir;      /* absolute; made and removed by the mover */
	int socket_user;       /* that of QEMU; -1: only root has to do with it */
	uint64_t bandwidth;    /* bytes a second, 0: no cap */
	uint64_t window_max;   /* bytes, 0: the link's default */
	uint64_t memory_limit; /* bytes this mover may take */
	unsigned cores;        /* threads that encode or decode, 0: the mover's default */
	bool recover;          /* of a post-copy that broke: the stream goes on in it */
	bool postcopy_first;   /* source: mover/pass_end.h */
	bool encode;           /* false: every byte goes as it is */
	int effort_max;        /* 1..9, 0: as measured */
	int link_timeout_ms, stop_limit_ms;
	enum mover_verify verify;
	bool rehearse;    /* source: the copy is held before its end (mover/rehearse_hold.h) */
	int rehearse_now; /* atomic: at once */
	uint64_t rehearse_bytes; /* and at the latest when so many are on the wire; 0: no matter */
	/* So much of the disks is copied (mover/disks/disk_rehearse_hold.h): of their content, on the wire; 0: no matter. */
	uint64_t rehearse_disk_bytes, rehearse_disk_wire;
	int rehearse_disks_now; /* atomic: no more of them */
	unsigned faults;        /* enum mover_fault */
};

/* Every field is checked; NULL with a message that names the field. */
struct mover_setup *mover_setup_parse(JsonObject *setup, GError **error);
void mover_setup_free(struct mover_setup *settings);
/* The socket's path: socket_dir and a name that stock AppArmor profiles allow QEMU to create. */
char *mover_setup_socket(const struct mover_setup *settings, GError **error);
/* That for disks, beside it. */
char *mover_setup_disk_socket(const struct mover_setup *settings, GError **error);
