/* SPDX-License-Identifier: Apache-2.0 */
/* Walks the table of parts. See part.h. */
#include "conductor/core/part.h"

void *part_state(struct move *move, const struct part *part)
{
	size_t index = 0;
	while (parts[index] && parts[index] != part)
		index++;
	g_assert(parts[index] && index < MOVE_PARTS_MAX);
	if (!move->part_states[index])
		move->part_states[index] = g_malloc0(part->state_bytes);
	return move->part_states[index];
}

void parts_describe_setup(struct move *move, JsonObject *setup)
{
	for (const struct part *const *part = parts; *part; part++)
		if ((*part)->describe_setup)
			(*part)->describe_setup(move, setup);
}

static bool handle_by(const struct part *part, struct move *move, enum move_side side,
		      const char *what, JsonObject *event)
{
	bool known = false;
	for (const struct part_event *row = part->events; row && row->what; row++) {
		if (!g_str_equal(row->what, what))
			continue;
		known = true;
		if (!row->source_only || side == MOVE_SOURCE)
			row->handle(move, event);
	}
	return known;
}

bool parts_handle(struct move *move, enum move_side side, const char *what, JsonObject *event)
{
	bool known = false;
	for (const struct part *const *part = parts; *part; part++)
		known |= handle_by(*part, move, side, what, event);
	return known;
}

void parts_begin(struct move *move)
{
	for (const struct part *const *part = parts; *part; part++)
		if ((*part)->begin)
			(*part)->begin(move);
}

void parts_tick(struct move *move, const struct job_stats_numbers *numbers)
{
	for (const struct part *const *part = parts; *part; part++)
		if ((*part)->tick)
			(*part)->tick(move, numbers);
}

const char *parts_reason(struct move *move)
{
	const char *reason = NULL;
	for (const struct part *const *part = parts; *part && !reason; part++)
		if ((*part)->reason)
			reason = (*part)->reason(move);
	return reason;
}

bool parts_are_waiting(struct move *move)
{
	bool waiting = false;
	for (const struct part *const *part = parts; *part && !waiting; part++)
		waiting = (*part)->is_waiting && (*part)->is_waiting(move);
	return waiting;
}

void parts_end(struct move *move)
{
	for (const struct part *const *part = parts; *part; part++)
		if ((*part)->end)
			(*part)->end(move);
}

void parts_arrived(struct move *move)
{
	for (const struct part *const *part = parts; *part; part++)
		if ((*part)->arrived)
			(*part)->arrived(move);
}

bool parts_are_past_cancel(struct move *move)
{
	bool past = false;
	for (const struct part *const *part = parts; *part && !past; part++)
		past = (*part)->is_past_cancel && (*part)->is_past_cancel(move);
	return past;
}

void parts_show(struct move *move)
{
	for (const struct part *const *part = parts; *part; part++)
		if ((*part)->shown)
			(*part)->shown(move);
}

JsonObject *parts_describe(struct move *move)
{
	JsonObject *all = NULL;
	for (const struct part *const *part = parts; *part; part++) {
		JsonObject *numbers = (*part)->describe ? (*part)->describe(move) : NULL;
		if (!numbers)
			continue;
		if (!all)
			all = json_object_new();
		json_object_set_object_member(all, (*part)->name, numbers);
	}
	return all;
}

void parts_clear(struct move *move)
{
	for (const struct part *const *part = parts; *part; part++)
		if ((*part)->clear)
			(*part)->clear(move);
	for (size_t i = 0; i < MOVE_PARTS_MAX; i++)
		g_clear_pointer(&move->part_states[i], g_free);
}
