/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of the rule by which a VM may be stopped. The forecast goes by the same ones as the controller
 * that decides in the end (conductor/convergence/downtime_limit.h, which gives the reasons). */
#pragma once

enum {
	RULE_EASY_MS = 4,     /* of dirty pages: less is not worth another round */
	RULE_FLAT_ROUNDS = 2, /* so many rounds that did not get smaller are taken for a plateau */
};
/* Of the ceiling, what the rest of the memory may take: device state, the proof at the gate and the
 * hand-over need the other part. */
static const double rule_top_share = 0.6;
/* Below this part of the best before, a round counts as smaller. */
static const double rule_smaller = 0.9;
