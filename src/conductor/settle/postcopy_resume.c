/* SPDX-License-Identifier: Apache-2.0 */
/* A broken post-copy whose conductor is gone: picked up from the journal by `watari resolve`. */
#include "conductor/settle/postcopy_resume.h"

#include "conductor/postcopy/postcopy.h"

#include "base/i18n.h"
#include "base/json.h"

#include <string.h>

/* As `watari migrate` has them. */
enum { CONNECTIONS = 2, LINK_TIMEOUT_MS = 60000, MAX_DOWNTIME_MS = 2000 };
#define MEMORY_LIMIT (512ULL << 20)

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
