/* SPDX-License-Identifier: Apache-2.0 */
/* How much of the downtime is kept for libvirt's hand-over. */
#include "conductor/core/hand_over.h"

#include "base/json.h"

enum {
	LOOKED_AT = 100,
	DEFAULT_MS = 100,
	LEAST_MS = 10,
	MOST_MS = 10000, /* libvirt gives up on a host that is silent for as long */
	LATE_MS = 20,    /* so much later libvirt may have seen the stop than the mover */
	BUFFERED =
		256 * 1024, /* bytes between QEMU and the mover: a unix socket's, and QEMU's own */
};

int64_t hand_over_late_ms(uint64_t bandwidth)
{
	return bandwidth > 0 ? (int64_t) (BUFFERED * UINT64_C(1000) / bandwidth) + LEAST_MS : 0;
}

int64_t hand_over_choose(const int64_t *measured_ms, int count, uint64_t bandwidth,
			 int64_t ceiling_ms)
{
	int64_t longest = 0;
	for (int i = 0; i < count; i++)
		longest = MAX(longest, measured_ms[i]);
	int64_t wanted = count > 0 ? MAX(longest + longest / 4, LEAST_MS)
				   : MIN(DEFAULT_MS, ceiling_ms * 2 / 5);
	return MIN(MAX(wanted, hand_over_late_ms(bandwidth)), ceiling_ms * 3 / 4);
}

/* Of a closing report; -1: it does not say, or what it says cannot be: until the clocks of the
 * hosts were minded, reports held their difference. */
static int64_t read_one(const char *numbers)
{
	g_autoptr(JsonParser) parser = json_parser_new();
	if (!numbers || !json_parser_load_from_data(parser, numbers, -1, NULL))
		return -1;
	JsonNode *root = json_parser_get_root(parser);
	JsonObject *times = root && JSON_NODE_HOLDS_OBJECT(root)
				    ? json_get_object(json_node_get_object(root), "times")
				    : NULL;
	int64_t move = times ? json_get_int(times, "migration_ms", -1) : -1;
	int64_t whole = times ? json_get_int(times, "libvirt_downtime_ms", -1) : -1;
	int64_t ours = times ? json_get_int(times, "stop_to_release_ms", -1) : -1;
	if (whole < 0 || ours < 0 || whole + LATE_MS < ours || whole - ours > MOST_MS)
		return -1;
	/* longer than the move was: by a clock that was wrong */
	if (move >= 0 && whole > move)
		return -1;
	return MAX(whole - ours, 0);
}

static gboolean is_between(const struct journal_move *move, const char *source,
			   const char *destination)
{
	return (g_strcmp0(move->source, source) == 0 &&
		g_strcmp0(move->destination, destination) == 0) ||
	       (g_strcmp0(move->source, destination) == 0 &&
		g_strcmp0(move->destination, source) == 0);
}

int hand_over_measured(struct journal *journal, const char *source, const char *destination,
		       int64_t measured_ms[HAND_OVER_MOVES])
{
	g_autoptr(GPtrArray) moves = journal_list(journal, NULL, LOOKED_AT, NULL);
	int count = 0;
	for (guint i = 0; i < moves->len && count < HAND_OVER_MOVES; i++) {
		const struct journal_move *move = moves->pdata[i];
		if (g_strcmp0(move->outcome, "migrated") != 0 ||
		    !is_between(move, source, destination))
			continue;
		measured_ms[count] = read_one(move->numbers);
		count += measured_ms[count] >= 0;
	}
	return count;
}
