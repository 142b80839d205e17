/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of a running move, and what somebody may still change in them. What was promised of the VM
 * at the start (the longest stop, how long the link may be broken, post-copy) can only be made less. The
 * cap on the wire promises the VM nothing and goes both ways: a copy of days may be faster at night. */
#pragma once
#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

struct move_limits {
	uint64_t bandwidth;   /* bytes a second on the wire; 0: no cap */
	int64_t ceiling_ms;   /* the longest stop */
	int64_t hand_over_ms; /* of it, what comes after the source mover's part */
	int64_t link_timeout_ms;
	int max_slowdown; /* percent; fixed at the start */
	bool postcopy;    /* allowed */
};

/* What is wished; has_*: whether at all. */
struct limits_wish {
	bool has_bandwidth, has_ceiling, has_link_timeout, no_postcopy;
	uint64_t bandwidth;
	int64_t ceiling_ms, link_timeout_ms;
};

enum { TUNE_LEAST_BANDWIDTH = 16384, TUNE_LEAST_CEILING_MS = 10, TUNE_LEAST_TIMEOUT_MS = 1000 };

/* From a message "tune" of somebody else. Refuses numbers that make no sense, and a wish for nothing. */
bool limits_parse(JsonObject *message, struct limits_wish *wish, GError **error);
/* The other way round. Caller owns the result. */
JsonObject *limits_describe_wish(const struct limits_wish *wish);
/* All of it or, with the reason, nothing. */
bool limits_apply(struct move_limits *limits, const struct limits_wish *wish, GError **error);
/* Under "limits" in reports and answers. */
JsonObject *limits_describe(const struct move_limits *limits);
