/* SPDX-License-Identifier: Apache-2.0 */
/* A part of the conductor: what a capability does at the points that all moves pass. Each is one struct at the end of its
 * file, and one line in the table of parts.c; nobody else knows of it. Every member may be NULL. Main thread.
 *
 *   describe_setup   the movers are being set up
 *   event            a mover has said something (docs/control.md), see `events`
 *   begin            libvirt's migration is about to be called; again, when it is called again
 *   tick             a few times a second while it runs
 *   reason           then, each time: why it must not go on
 *   end              it has returned
 *   arrived          it has returned, and libvirt says that it went well
 *   shown            something changed that a person may see
 *   describe         the closing report is made
 *   clear            the move is over, and its state is about to be freed
 */
#pragma once
#include "conductor/core/move.h"

struct job_stats_numbers;

/* An event of a mover that the part wants to hear of. */
struct part_event {
	const char *what;
	bool source_only; /* it counts when the source's mover says it */
	void (*handle)(struct move *move, JsonObject *event);
};

struct part {
	const char *name; /* stable word */
	void (*describe_setup)(struct move *move, JsonObject *setup);
	const struct part_event *events; /* up to one without `what` */
	void (*begin)(struct move *move);
	void (*tick)(struct move *move, const struct job_stats_numbers *numbers);
	/* For a person, translated; NULL: nothing speaks against it. */
	const char *(*reason)(struct move *move);
	/* A thread of it waits for libvirt, which may need a nudge (live/abort.c). */
	bool (*is_waiting)(struct move *move);
	void (*end)(struct move *move);
	void (*arrived)(struct move *move);
	/* The move cannot be cancelled any more. */
	bool (*is_past_cancel)(struct move *move);
	void (*shown)(struct move *move);
	/* Its own numbers; NULL: it has none. */
	JsonObject *(*describe)(struct move *move);
	void (*clear)(struct move *move);
	size_t state_bytes; /* of what it keeps of one move, zeroed at first; see part_state() */
};

/* What PART keeps of this move: the same bytes until the move is cleared. */
void *part_state(struct move *move, const struct part *part);

/* All of them, in the order in which they are asked; NULL ends it (parts.c). */
extern const struct part *const parts[];

/* Each part that has an answer, in order. */
void parts_describe_setup(struct move *move, JsonObject *setup);
/* True: one of them knows the event WHAT. */
bool parts_handle(struct move *move, enum move_side side, const char *what, JsonObject *event);
void parts_begin(struct move *move);
void parts_tick(struct move *move, const struct job_stats_numbers *numbers);
const char *parts_reason(struct move *move);
bool parts_are_waiting(struct move *move);
void parts_end(struct move *move);
void parts_arrived(struct move *move);
bool parts_are_past_cancel(struct move *move);
void parts_show(struct move *move);
/* {name: numbers}; NULL: none has any. Unref the result. */
JsonObject *parts_describe(struct move *move);
void parts_clear(struct move *move);
