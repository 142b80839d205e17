/* SPDX-License-Identifier: Apache-2.0 */
/* Looking ahead: what is known before a move, what earlier moves showed, and the forecast made of
 * both. Only inside src/conductor. */
#pragma once
#include "forecast/outlook.h"

struct journey;
struct journey_request;
struct ahead {
	struct plan_facts facts;
	bool counting; /* QEMU counts the pages that are written (dirty_rate.h) */
	JsonArray *images
		[FACTS_HOSTS];   /* what the movers found on them (references.h); NULL: nothing */
	bool known[FACTS_HOSTS]; /* what was measured there, beside the move */
	bool to_come;            /* the move has begun, and what was measured is not known yet */
	double elapsed_ms;       /* from the command's start to when the move could begin */
	double known_ms;         /* and to when it was predicted */
	double asked_ms[FACTS_HOSTS]; /* how long the question for the time took; 0: not asked */
	struct plan_past *past;       /* past_count of them */
	unsigned past_count;
	struct plan_outlook outlooks[PLAN_STRATEGY_LAST];
	enum plan_strategy chosen;
};

/* What libvirt says of the VM and the user wishes. Not in the main thread's way: asks libvirt. */
void ahead_read_vm(struct journey *journey);
/* The sizes of the VM's memory as its QEMU maps it: each JSON number a mapping. */
JsonArray *ahead_list_memories(struct journey *journey);
/* What a mover says: “measured” (SIDE 0: of the source), “probed”, “clock” (asked and answered in
 * WAIT_US). */
void ahead_take_measured(struct ahead *ahead, int side, JsonObject *message);
void ahead_take_probed(struct ahead *ahead, JsonObject *message);
void ahead_take_clock(struct ahead *ahead, int side, JsonObject *message, int64_t asked_us,
		      int64_t wait_us);
/* By how much the destination's clock is ahead of the source's; false: nobody has asked for this
 * move. What it may be off by is half of *round_trip_ms. AHEAD may be NULL. */
bool ahead_clocks_apart_ms(const struct ahead *ahead, double *apart_ms, int64_t *round_trip_ms);
/* The way that is asked for. */
enum plan_strategy ahead_choose(const struct journey_request *request);
/* Read the past from the journal: blocks. */
void ahead_recall(struct journey *journey);
/* Work the outlooks out of all that: blocks nobody. */
void ahead_predict(struct journey *journey);
/* Both. */
void ahead_look(struct journey *journey);
/* Each turn of the loop of a live move: its forecast is made as soon as all is measured, or, when the VM is stopped
 * before, of what is. */
void ahead_tick(struct journey *journey);
/* It is there: what has not been predicted by now is an outcome. */
void ahead_end(struct journey *journey);
/* What speaks against the move, by these numbers: into the report's findings. */
void ahead_find(struct journey *journey);
/* Instead of all that: what a plan says. False: it is not whole. */
bool ahead_take_plan(struct ahead *ahead, JsonObject *forecast);
/* {"facts", "strategies": [...], "chosen", "learnt_from", "known_ms"}. */
JsonObject *ahead_describe(const struct ahead *ahead);
void ahead_free(struct ahead *ahead);
