/* SPDX-License-Identifier: Apache-2.0 */
#include "conductor/endings/announce.h"

#include "conductor/core/movers.h"

#include "base/i18n.h"
#include "base/json.h"

enum {
	ANNOUNCE_MS = 10000,
	HUNG_MS = 2000, /* an old mover answers at once, or hangs */
	REPEATS_MS = 1000,
};

struct reading {
	struct journey *journey;
	struct host *host;
};

static void call_read_nics(void *data)
{
	struct reading *reading = data;
	virDomainPtr domain =
		reading->host ? virDomainLookupByUUIDString(reading->host->connection,
							    reading->journey->report->vm_uuid)
			      : NULL;
	char *xml = domain ? virDomainGetXMLDesc(domain, 0) : NULL;
	if (xml)
		reading->journey->nics = domain_read_nics(xml, NULL);
	if (domain)
		virDomainFree(domain);
	free(xml); /* libvirt's */
}

static JsonArray *describe_interfaces(struct journey *journey)
{
	JsonArray *interfaces = json_array_new();
	for (guint i = 0; i < journey->nics->len; i++) {
		const struct domain_nic *nic = journey->nics->pdata[i];
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
static JsonObject *ask(struct journey *journey, JsonObject *message, GError **error)
{
	bool alive = movers_alive(journey, JOURNEY_SOURCE);
	JsonObject *answer = alive ? movers_ask(journey, JOURNEY_SOURCE, json_object_ref(message),
						"announced", HUNG_MS, NULL)
				   : NULL;
	if (answer)
		return answer;
	journey->mover_lost |= alive;
	return movers_restart(journey, JOURNEY_SOURCE, error)
		       ? movers_ask(journey, JOURNEY_SOURCE, json_object_ref(message), "announced",
				    ANNOUNCE_MS, error)
		       : NULL;
}

void announce_at_source(struct journey *journey, struct host *host)
{
	struct reading reading = { journey, host };
	g_autoptr(GError) error = NULL;
	if (!journey->nics)
		journey_call(journey, call_read_nics, &reading);
	if (!journey->nics)
		return;
	JsonArray *interfaces = describe_interfaces(journey);
	if (json_array_get_length(interfaces) == 0) {
		json_array_unref(interfaces);
		return;
	}
	journey_say(journey, _("telling the network that the VM is at the source"));
	JsonObject *message = dialogue_message("announce");
	json_object_set_array_member(message, "interfaces", interfaces);
	bool cancelled = journey->cancelled;
	journey->cancelled = false;
	g_autoptr(JsonObject) answer = ask(journey, message, &error);
	json_object_unref(message);
	/* The mover says it five times; then it may go. */
	if (answer)
		journey_pause(journey, REPEATS_MS);
	journey->cancelled = cancelled || journey->cancelled;
	if (answer)
		return;
	g_autofree char *what = error_what(error);
	journey_note(journey, true,
		     _("The network was not told that the VM is back at the source (%s); it learns "
		       "it from the guest's next packet."),
		     what);
}
