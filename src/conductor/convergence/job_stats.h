/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at libvirt's job statistics of the running migration, in a thread of its own (the answer
 * may be long in coming: while the VM is stopped QEMU does not answer), sets QEMU's own limit of the
 * downtime as downtime_limit.h decides, and throttles the VM as ladder.h decides. The other steps of the
 * ladder are the reader's. */
#pragma once
#include "conductor/convergence/ladder.h"

#include <libvirt/libvirt.h>

/* A copy of the newest numbers; 0 where unknown. */
struct job_stats_numbers {
	uint64_t remaining, total;      /* bytes of guest memory */
	uint64_t disk_done, disk_total; /* bytes of disks */
	bool disks_only;                /* disks are copied, and memory has not begun */
	int64_t at_us;                  /* of this look; 0: none yet */
	double dirty_rate;              /* bytes a second */
	int iteration;
	int64_t limit_ms; /* QEMU's limit of the downtime now */
	int throttle;     /* percent by which QEMU slows the VM down now */
};

struct job_stats_rules {
	int64_t ceiling_ms; /* the user's */
	int64_t reserve_ms; /* of it, for the hand-over */
	int64_t easy_ms;    /* see limit_init() */
	struct ladder_rules ladder;
};

/* What the movers know of the link. */
struct job_stats_link {
	double rate;        /* bytes a second that the destination's mover consumes */
	double wire_rate;   /* bytes a second on the wire when it was busy */
	double stream_rate; /* bytes a second of QEMU's own stream, smoothed */
	double carried;     /* bytes a second of it that the link carries now; 0: unknown */
	uint64_t in_flight; /* packed bytes between QEMU and what the destination has consumed */
	int64_t round_trip_us;
};

struct job_stats;
/* Keeps a reference to DOMAIN. Sets the first limit at once. */
struct job_stats *job_stats_new(virDomainPtr domain, const struct job_stats_rules *rules);
/* The ceiling (0: none) is lower, post-copy no longer allowed, from the next look on. */
void job_stats_tighten(struct job_stats *watch, int64_t ceiling_ms, int64_t reserve_ms,
		       bool postcopy);
void job_stats_get(struct job_stats *watch, struct job_stats_numbers *numbers);
void job_stats_set_link(struct job_stats *watch, const struct job_stats_link *link);
/* The oldest decision that was carried out and not taken yet; false: none. */
bool job_stats_take_change(struct job_stats *watch, struct limit_change *change);
bool job_stats_take_decision(struct job_stats *watch, struct ladder_decision *decision);
/* For how long the thread has been waiting for libvirt's answer. */
int64_t job_stats_waiting_ms(struct job_stats *watch);
/* For how long it has been seen that the VM is off; 0: it is not. */
int64_t job_stats_gone_ms(struct job_stats *watch);
/* Ends the thread; waits for libvirt's last answer. */
void job_stats_free(struct job_stats *watch);
