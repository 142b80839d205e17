/* SPDX-License-Identifier: Apache-2.0 */
/* Has the network told where the guest is. */
#include "conductor/settle/announce.h"

#include "conductor/core/movers.h"

#include "base/i18n.h"
#include "base/json.h"
#include "control/messages.h"

enum {
	ANNOUNCE_MS = 10000,
	HUNG_MS = 2000, /* an old mover answers at once, or hangs */
	REPEATS_MS = 1000,
};

struct reading {
	struct move *move;
	struct host *host;
};

static void call_read_nics(void *data)
{
	struct reading *reading = data;
	virDomainPtr domain = reading->host
				      ? virDomainLookupByUUIDString(reading->host->connection,
								    reading->move->report->vm_uuid)
				      : NULL;
	char *xml = domain ? virDomainGetXMLDesc(domain, 0) : NULL;
	if (xml)
		reading->move->nics = domain_read_nics(xml, NULL);
	if (domain)
		virDomainFree(domain);
	free(xml); /* libvirt's */
}

static JsonArray *describe_interfaces(struct move *move)
{
	JsonArray *interfaces = json_array_new();
	for (guint i = 0; i < move->nics->len; i++) {
		const struct domain_nic *nic = move->nics->pdata[i];
		if (!nic->tap || !nic->mac)
			continue;
		JsonObject *interface = json_object_new();
		json_object_set_string_member(interface, "device", nic->tap);
		json_object_set_string_member(interface, "mac", nic->mac);
		json_array_add_object_element(interfaces, interface);
	}
	return interfaces;
}

/* One that hangs is found here, too, when the VM was let go on without it. */
static JsonObject *ask_for_announcement(struct move *move, JsonObject *message, GError **error)
{
	bool alive = movers_alive(move, MOVE_SOURCE);
	JsonObject *answer = alive ? movers_ask(move, MOVE_SOURCE, json_object_ref(message),
						MESSAGE_ANNOUNCED, HUNG_MS, NULL)
				   : NULL;
	if (answer)
		return answer;
	move->mover_lost |= alive;
	return movers_restart(move, MOVE_SOURCE, error)
		       ? movers_ask(move, MOVE_SOURCE, json_object_ref(message), MESSAGE_ANNOUNCED,
				    ANNOUNCE_MS, error)
		       : NULL;
}

void announce_at_source(struct move *move, struct host *host)
{
	struct reading reading = { move, host };
	g_autoptr(GError) error = NULL;
	if (!move->nics)
		move_call(move, call_read_nics, &reading);
	if (!move->nics)
		return;
	JsonArray *interfaces = describe_interfaces(move);
	if (json_array_get_length(interfaces) == 0) {
		json_array_unref(interfaces);
		return;
	}
	move_say(move, _("telling the network that the VM is at the source"));
	JsonObject *message = dialogue_message(MESSAGE_ANNOUNCE);
	json_object_set_array_member(message, "interfaces", interfaces);
	bool cancelled = move->cancelled;
	move->cancelled = false;
	g_autoptr(JsonObject) answer = ask_for_announcement(move, message, &error);
	json_object_unref(message);
	/* The mover says it five times; then it may go. */
	if (answer)
		move_pause(move, REPEATS_MS);
	move->cancelled = cancelled || move->cancelled;
	if (answer)
		return;
	g_autofree char *what = error_what(error);
	move_note(move, true,
		  _("The network was not told that the VM is back at the source (%s); it learns "
		    "it from the guest's next packet."),
		  what);
}
