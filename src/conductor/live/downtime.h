/* SPDX-License-Identifier: Apache-2.0 */
/* How long the VM stood still, as libvirt knows it.
 *
 * libvirt at the destination subtracts the time of the stop, by the clock of the source, from its
 * own clock. That is a duration only when both hosts agree on the time: half a minute ahead, and
 * the VM stood still for half a minute; 80 ms behind, and 80 ms of its standstill are hidden. So
 * its word is corrected by what the clocks are apart, as the movers were asked before the move.
 * Where they were not asked, or the clocks were set since, what libvirt calls the net downtime is
 * left: it takes both the clocks and the way of the order from host to host out, so it is that
 * much short. And whatever is said has to fit into the time that passed here, by one clock. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct downtime_sight {
	int64_t whole_ms; /* VIR_DOMAIN_JOB_DOWNTIME; -1: libvirt does not say */
	int64_t net_ms; /* VIR_DOMAIN_JOB_DOWNTIME_NET; -1: likewise, as when that clock is behind */
	bool apart_known; /* the clocks were compared */
	double apart_ms;  /* the destination's is so far ahead of the source's */
	int64_t least_ms; /* from the stop to the release, as the source's mover saw it; -1: unknown */
	int64_t most_ms; /* from before the stop to libvirt's answer, as it was seen here */
	int64_t round_trip_ms; /* of the question for the time: what the difference may be off by, twice */
};

/* -1: nothing that can be true. */
int64_t downtime_choose(const struct downtime_sight *sight);
