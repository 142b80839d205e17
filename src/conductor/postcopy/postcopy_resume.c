/* SPDX-License-Identifier: Apache-2.0 */
/* A broken post-copy whose conductor is gone: picked up from the journal by `watari resolve`. */
#include "conductor/postcopy/postcopy_internal.h"

#include "base/i18n.h"
#include "base/json.h"

#include <string.h>

/* As `watari migrate` has them. */
enum { CONNECTIONS = 2, LINK_TIMEOUT_MS = 60000, MAX_DOWNTIME_MS = 2000 };
#define MEMORY_LIMIT (512ULL << 20)

void postcopy_describe_resume(struct move *move, JsonObject *numbers)
{
	const struct move_request *request = move->request;
	json_object_set_int_member(numbers, "flags", move_migrate_flags(move));
	json_object_set_int_member(numbers, "connections", request->connections);
	json_object_set_int_member(numbers, "link", request->link);
	json_object_set_int_member(numbers, "connect_from", request->connect_from);
	json_object_set_int_member(numbers, "first_port", request->ports[0]);
	json_object_set_int_member(numbers, "last_port", request->ports[1]);
	json_set_text(numbers, "link_address", request->link_address);
}

static void fill_request(struct move_request *request, JsonObject *numbers)
{
	*request = (struct move_request){
		.kind = MOVE_LIVE,
		.allow_postcopy = true,
		.max_downtime_ms = MAX_DOWNTIME_MS,
		.link_timeout_ms = LINK_TIMEOUT_MS,
		.memory_limit = MEMORY_LIMIT,
		.connections = (int) json_get_int(numbers, "connections", CONNECTIONS),
		.link = (int) json_get_int(numbers, "link", MOVE_LINK_AUTO),
		.connect_from = (int) json_get_int(numbers, "connect_from", MOVE_FROM_EITHER),
		.ports = { (uint16_t) json_get_int(numbers, "first_port", 0),
			   (uint16_t) json_get_int(numbers, "last_port", 0) },
		.link_address = g_intern_string(json_get_string(numbers, "link_address", NULL)),
	};
}

bool postcopy_resume(struct move *move, const char *text, struct move_request *request,
		     GError **error)
{
	g_autoptr(JsonObject) numbers = text ? json_parse_object(text, strlen(text), NULL) : NULL;
	if (!numbers) {
		postcopy_give_up(move, _("the journal does not say how it began"), error);
		return false;
	}
	fill_request(request, numbers);
	move->request = request;
	move_set_limits(move);
	move->resume_flags = (unsigned) json_get_int(numbers, "flags", 0);
	move->performed = true;
	return phase_perform_resume(move, error);
}
