/* SPDX-License-Identifier: Apache-2.0 */
/* Looking ahead: what is known before a move, what earlier moves showed, and the forecast made of
 * both. Only inside src/conductor. */
#pragma once
#include "forecast/outlook.h"

struct move;
struct move_request;
struct prediction {
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
void prediction_read_vm(struct move *move);
/* The sizes of the VM's memory as its QEMU maps it: each JSON number a mapping. */
JsonArray *prediction_list_memories(struct move *move);
/* What a mover says: “measured” (SIDE 0: of the source), “probed”, “clock” (asked and answered in
 * WAIT_US). */
void prediction_take_measured(struct prediction *prediction, int side, JsonObject *message);
void prediction_take_probed(struct prediction *prediction, JsonObject *message);
void prediction_take_clock(struct prediction *prediction, int side, JsonObject *message,
			   int64_t asked_us, int64_t wait_us);
/* By how much the destination's clock is ahead of the source's; false: nobody has asked for this
 * move. What it may be off by is half of *round_trip_ms. AHEAD may be NULL. */
bool prediction_clocks_apart_ms(const struct prediction *prediction, double *apart_ms,
				int64_t *round_trip_ms);
/* The way that is asked for. */
enum plan_strategy prediction_choose(const struct move_request *request);
/* Read the past from the journal: blocks. */
void prediction_recall(struct move *move);
/* Work the outlooks out of all that: blocks nobody. */
void prediction_predict(struct move *move);
/* Both. */
void prediction_look(struct move *move);
/* What speaks against the move, by these numbers: into the report's findings. */
void prediction_find(struct move *move);
/* Instead of all that: what a plan says. False: it is not whole. */
bool prediction_take_plan(struct prediction *prediction, JsonObject *forecast);
/* {"facts", "strategies": [...], "chosen", "learnt_from", "known_ms"}. */
JsonObject *prediction_describe(const struct prediction *prediction);
void prediction_free(struct prediction *prediction);
