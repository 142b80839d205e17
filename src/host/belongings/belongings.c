/* SPDX-License-Identifier: Apache-2.0 */
/* The list of what belongs to a VM, and the walks over it. See belongings.h. */
#include "host/belongings/belongings.h"

#include "base/i18n.h"

static const char *const fate_names[] = { "libvirt", "carried", "proven",
					  "mapped",  "said",    "refused" };
_Static_assert(G_N_ELEMENTS(fate_names) == BELONGING_FATE_LAST, "one name for each fate");

const char *belonging_fate_name(enum belonging_fate fate)
{
	return fate_names[fate];
}

const struct belonging belongings[] = {
	/* beside the VM in libvirt */
	{ "autostart", NULL, BELONGING_CARRIED, belonging_check_autostart, &belonging_autostart },
	{ "snapshots", NULL, BELONGING_CARRIED, NULL, &belonging_snapshots },
	{ NULL },
};

void check_belongings(struct check_context *context)
{
	for (const struct belonging *belonging = belongings; belonging->name; belonging++)
		if (belonging->check)
			belonging->check(context);
}

JsonObject *belongings_read(virDomainPtr domain, GError **error)
{
	g_autoptr(JsonObject) values = json_object_new();
	for (const struct belonging *belonging = belongings; belonging->name; belonging++) {
		g_autoptr(GError) failure = NULL;
		JsonNode *value =
			belonging->carrier ? belonging->carrier->read(domain, &failure) : NULL;
		if (failure) {
			error_classify(&failure, WATARI_ERROR_REFUSED, NULL);
			g_propagate_error(error, g_steal_pointer(&failure));
			return NULL;
		}
		if (value)
			json_object_set_member(values, belonging->name, value);
	}
	return g_steal_pointer(&values);
}

const char *belongings_first_taken(JsonObject *values)
{
	for (const struct belonging *belonging = belongings; belonging->name; belonging++)
		if (belonging->carrier && belonging->carrier->take &&
		    json_object_has_member(values, belonging->name))
			return belonging->name;
	return NULL;
}

bool belongings_take(virDomainPtr domain, JsonObject *values, GError **error)
{
	for (const struct belonging *belonging = belongings; belonging->name; belonging++) {
		const struct belonging_carrier *carrier = belonging->carrier;
		JsonNode *value = json_object_get_member(values, belonging->name);
		if (!carrier || !carrier->take || !value || carrier->take(domain, value, error))
			continue;
		error_classify(error, WATARI_ERROR_REFUSED, NULL);
		return false;
	}
	return true;
}

typedef bool handle_value(virDomainPtr domain, JsonNode *value, GError **error);

/* Nothing that can be done is left undone for the failure of something else. */
static void handle_belonging(virDomainPtr domain, JsonObject *values, const char *name,
			     handle_value *handle, GError **error)
{
	g_autoptr(GError) failure = NULL;
	JsonNode *value = json_object_get_member(values, name);
	if (!handle || !value || handle(domain, value, &failure))
		return;
	error_prefix(&failure, "%s", name);
	if (!*error)
		g_propagate_error(error, g_steal_pointer(&failure));
}

bool belongings_give(virDomainPtr domain, JsonObject *values, GError **error)
{
	for (const struct belonging *belonging = belongings; belonging->name; belonging++)
		if (belonging->carrier)
			handle_belonging(domain, values, belonging->name, belonging->carrier->give,
					 error);
	return !*error;
}

bool belongings_leave(virDomainPtr domain, JsonObject *values, GError **error)
{
	for (const struct belonging *belonging = belongings; belonging->name; belonging++)
		if (belonging->carrier)
			handle_belonging(domain, values, belonging->name, belonging->carrier->leave,
					 error);
	return !*error;
}
