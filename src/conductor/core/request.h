/* SPDX-License-Identifier: Apache-2.0 */
/* What the user wants of one migration. Filled by src/cli from the command line; strings belong to
 * the caller and outlive the move. */
#pragma once
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

/* What is done with the VM. */
enum move_kind {
	MOVE_LIVE,      /* it runs, and moves as it runs */
	MOVE_OFFLINE,   /* it is off, and stays off */
	MOVE_QUICK,     /* it stands still while it moves */
	MOVE_PLAN,      /* nothing changes: measured and predicted */
	MOVE_REHEARSAL, /* everything but the switchover */
	MOVE_KIND_LAST
};
/* AUTO: live as long as the permissions below suffice. */
enum move_strategy {
	MOVE_STRATEGY_AUTO,
	MOVE_STRATEGY_LIVE,
	MOVE_STRATEGY_POSTCOPY,
	MOVE_STRATEGY_QUICK
};
enum move_link_kind { MOVE_LINK_AUTO, MOVE_LINK_TCP, MOVE_LINK_SSH };
enum move_connect_from { MOVE_FROM_EITHER, MOVE_FROM_SOURCE, MOVE_FROM_DESTINATION };
/* From MOVE_COMPRESS_1 on: the most effort that may be taken, 1 to 9. */
enum move_compress { MOVE_COMPRESS_AUTO, MOVE_COMPRESS_OFF, MOVE_COMPRESS_1 };
enum move_verify { MOVE_VERIFY_NONE, MOVE_VERIFY_SAMPLE, MOVE_VERIFY_FULL };
/* AUTO: what is proven to be shared stays, the rest is copied. */
enum move_disks { MOVE_DISKS_AUTO, MOVE_DISKS_COPY, MOVE_DISKS_SHARED };
enum move_verify_disks { MOVE_VERIFY_DISKS_NONE, MOVE_VERIFY_DISKS_FULL };
enum { MOVE_LIST_MAX = 32 };

struct move_request {
	int kind;                /* enum move_kind */
	const char *connect;     /* libvirt URI of the source; NULL: from VM or libvirt's default */
	const char *vm;          /* name, UUID or id; "HOST:VM" unless `connect` is given */
	const char *destination; /* host name, ssh alias, user@host or libvirt URI */
	uint64_t bandwidth;      /* bytes a second on the wire; 0: no cap */
	uint64_t disk_bandwidth; /* of that, what is taken of the disks; 0: no cap */
	int64_t max_downtime_ms; /* hard ceiling from the stop to the hand-over */
	uint64_t max_traffic;    /* rehearsal: bytes on the wire; 0: no matter */
	int64_t max_time_ms;     /* rehearsal: from the call of libvirt to the hold; 0: none */
	uint64_t max_disk;   /* rehearsal: bytes of the disks' content; 0: the default, and 10 s */
	int strategy;        /* enum move_strategy */
	bool allow_postcopy; /* for a while no host alone may have the whole VM */
	int max_slowdown;    /* percent that the VM may be slowed down; 0: not at all */
	int64_t max_stop_ms; /* quick: the longest stop; 0: none */
	bool prewarm;        /* quick: memory passes once before the stop */
	const char *through; /* quick: a directory that both hosts see; NULL: over the link */
	bool yes;            /* quick: the stop is agreed to, nobody is asked */
	int64_t link_timeout_ms; /* how long the link may be dark */
	int connections;
	uint64_t memory_limit; /* bytes, for each mover */
	int cores;         /* threads that encode and decode, at each host; 0: the mover's choice */
	int compress;      /* enum move_compress */
	uint16_t ports[2]; /* 0,0: any */
	const char *link_address;
	int connect_from;                 /* enum move_connect_from */
	int link;                         /* enum move_link_kind */
	int verify;                       /* enum move_verify */
	bool persistent, undefine_source; /* neither: the VM keeps what it has and moves whole */
	int disks;                        /* enum move_disks */
	int verify_disks;                 /* enum move_verify_disks */
	const char *disk_places[MOVE_LIST_MAX + 1]; /* "vda=PATH", "vda=pool:NAME" */
	const char *seeds[MOVE_LIST_MAX + 1];       /* images at the destination */
	const char *trusted[MOVE_LIST_MAX + 1];     /* disks and files that are the same */
	const char *accept[MOVE_LIST_MAX + 1];      /* checks whose refusal is overruled */
	const char *networks[MOVE_LIST_MAX + 1];    /* "OLD=NEW" (mapping.h) */
	const char *listens[MOVE_LIST_MAX + 1];     /* likewise */
	bool secrets_stay;                          /* secrets of libvirt are not carried */
	bool keep_backing;         /* backing files that are there already are used */
	bool remove_source_disks;  /* after all went well */
	JsonObject *plan;          /* that is carried out (cli/plan_file.h); NULL: none */
	const char *rsh;           /* a command line; NULL: ssh */
	const char *remote_watari; /* path at both hosts; NULL: found */
	const char *faults;        /* tests: words for both movers */
};
