/* SPDX-License-Identifier: Apache-2.0 */
/* A model of pre-copy: QEMU's rounds, its measured bandwidth, its rule for the stop and its throttle, a
 * link, and guests that change their memory. What decides sees only what a poller would see, at
 * moments that have nothing to do with the rounds. */
#pragma once
#include "conductor/convergence/ladder.h"

struct model {
	/* the guest: distinct dirty bytes grow towards the working set */
	double dirty_rate, set;
	double burst_rate; /* instead, between these times */
	double burst_from_s, burst_until_s;
	/* first pass: so much is sent at once (zero runs, references), the rest by the link */
	double memory, cheap;
	double same;  /* the last bytes of the second round, as quick as the cheap ones */
	double drain; /* bytes a second */
	int sync_ms;  /* each dirty sync takes so long */
	int64_t ceiling_ms;
	int64_t easy_ms; /* 0: the usual one */
	int poll_ms;
	int64_t reserve_ms;
	struct ladder_rules rules;
	/* the result */
	double stop_s, stop_bytes, most_limit_ms;
	int iterations, changes;
	bool stopped, hopeless; /* the ladder gave up */
	int most_throttle;      /* that QEMU applied */
	int decided_in;         /* iteration of the last step of the ladder */
	double decided_s;
	enum ladder_step step; /* the last one that was no “wait” */
	struct ladder_decision last_decision;
	struct limit_change last_change;
};

void precopy_run(struct model *model, int seconds);
/* The VM's stop, as far as it is memory. */
double precopy_stop_ms(const struct model *model);
