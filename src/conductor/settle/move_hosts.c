/* SPDX-License-Identifier: Apache-2.0 */
/* The hosts of a row of the journal: written, read, compared. */
#include "conductor/settle/move_hosts.h"

#include "base/json.h"

#include <string.h>

static const char *const side_names[] = {
	[MOVE_SOURCE] = "source", [MOVE_DESTINATION] = "destination"
};
_Static_assert(G_N_ELEMENTS(side_names) == MOVE_SIDES, "one name for each side");

void move_hosts_describe(const struct move *move, JsonObject *options)
{
	JsonObject *hosts = json_object_new();
	for (int side = 0; side < MOVE_SIDES; side++) {
		JsonObject *host = json_object_new();
		json_set_text(host, "uuid", move->hosts[side]->uuid);
		json_set_text(host, "machine", move->hosts[side]->machine);
		json_object_set_object_member(hosts, side_names[side], host);
	}
	json_object_set_object_member(options, "hosts", hosts);
}

void move_hosts_read(const struct journal_move *row, struct move_host hosts[MOVE_SIDES])
{
	g_autoptr(JsonObject) options = json_parse_kept(row->options);
	JsonObject *both = options ? json_get_object(options, "hosts") : NULL;
	for (int side = 0; side < MOVE_SIDES; side++) {
		JsonObject *host = both ? json_get_object(both, side_names[side]) : NULL;
		hosts[side] = (struct move_host){ 0 };
		if (!host)
			continue;
		hosts[side].uuid = g_strdup(json_get_string(host, "uuid", NULL));
		hosts[side].machine = g_strdup(json_get_string(host, "machine", NULL));
	}
}

void move_host_clear(struct move_host *host)
{
	g_clear_pointer(&host->uuid, g_free);
	g_clear_pointer(&host->machine, g_free);
}

static bool is_same_machine(const struct move_host *one, const struct move_host *other)
{
	if (strcmp(one->uuid, other->uuid) != 0)
		return false;
	return !one->machine || !other->machine || g_str_equal(one->machine, other->machine);
}

bool move_hosts_match(const struct journal_move *row, enum move_side side,
		      const struct move_host *host, const char *text)
{
	struct move_host hosts[MOVE_SIDES];
	const char *written = side == MOVE_SOURCE ? row->source : row->destination;
	move_hosts_read(row, hosts);
	bool same = hosts[side].uuid && host->uuid ? is_same_machine(&hosts[side], host)
						   : g_strcmp0(written, text) == 0;
	for (int i = 0; i < MOVE_SIDES; i++)
		move_host_clear(&hosts[i]);
	return same;
}
