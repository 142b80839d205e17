/* SPDX-License-Identifier: Apache-2.0 */
/* What postcopy.c and postcopy_renew.c share. */
#pragma once
#include "conductor/postcopy/postcopy.h"

struct postcopy {
	/* the thread that asks libvirt */
	GThread *thread;
	virDomainPtr domain;
	GError *error; /* read after `done` */
	gint done;     /* atomic */
	/* main thread */
	bool answered;       /* libvirt's answer was taken */
	int tries;           /* to mend it */
	unsigned done_sides; /* bits: movers that have let go */
	bool broken;         /* the movers were told to let go */
	int64_t broken_us;   /* when they were, or libvirt was found not to answer */
	int64_t renewed_us;  /* of the last try: when libvirt was asked; 0: QEMU is connected */
	int64_t dark_us;     /* since when one mover is silent and the other has no link; 0: not */
};
