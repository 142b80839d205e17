/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's migration while it runs: what phase_perform.c and its helpers share. Only inside src/conductor. */
#pragma once
#include "conductor/convergence/disk_trend.h"
#include "conductor/live/downtime.h"
#include "conductor/core/part.h"
#include "conductor/convergence/job_stats.h"

struct performing {
	struct move *move;
	/* set once */
	virTypedParameterPtr params;
	int param_count;
	unsigned flags;
	/* the call's thread, read after `done` */
	virDomainPtr result;
	struct downtime_sight downtime;
	GError *error;
	gint done; /* atomic */
	/* this thread */
	struct job_stats *watch;
	struct downtime_guard *ceiling;
	GThread *aborter;
	gint aborter_done; /* atomic */
	GThread *nudger;
	gint nudger_done;  /* atomic */
	int64_t ending_ms; /* since when it is being ended from here; 0: not */
	int64_t abort_at_ms;
	bool told_source;
	int64_t disks_us; /* of the last numbers of disks; 0: none yet */
	double disk_rate; /* bytes a second, smoothed */
	struct disk_trend disk_trend;
	struct disk_watch *disk_watch; /* NULL: none */
	bool disks_hopeless;
	bool slept; /* the call was cut off, for libvirt slept over it */
};

/* Ending it from here (abort.c). */
/* Why it must not go on; NULL: nothing speaks against it. */
const char *perform_reason(struct performing *performing);
/* Called again and again, until libvirt has answered. */
void perform_end_it(struct performing *performing, const char *reason);
/* A destination that is there but silent must not hold us for ever. */
bool perform_is_silent(struct performing *performing);
/* The VM has ended, and libvirt does not notice that its migration has. */
bool perform_sleeps(struct performing *performing);
void perform_nudge(struct performing *performing);
/* Waits for the threads that ended it. */
void perform_join(struct performing *performing);

/* Its numbers, for the person (progress.c). */
void perform_show(struct performing *performing);
