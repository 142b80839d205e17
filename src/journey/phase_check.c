/* SPDX-License-Identifier: Apache-2.0 */
/* The VM is looked up and everything that can be known before is asked; a refusal ends it here. */
#include "journey/state.h"

#include "base/i18n.h"

#include <string.h>

/* As virsh: an id of a running VM, then a UUID, then a name. */
static virDomainPtr look_up(virConnectPtr connection, const char *vm)
{
	char *end = NULL;
	guint64 id = g_ascii_strtoull(vm, &end, 10);
	virDomainPtr domain = NULL;
	if (g_ascii_isdigit(*vm) && !*end && id <= G_MAXINT)
		domain = virDomainLookupByID(connection, (int) id);
	if (!domain && g_uuid_string_is_valid(vm))
		domain = virDomainLookupByUUIDString(connection, vm);
	return domain ? domain : virDomainLookupByName(connection, vm);
}

static bool find_domain(struct journey *journey, GError **error)
{
	struct host *source = journey->hosts[JOURNEY_SOURCE];
	journey->domain = look_up(source->connection, journey->vm);
	if (!journey->domain)
		return error_set(error, WATARI_ERROR_REFUSED,
				 _("“virsh list --all” at that host shows its VMs."),
				 _("there is no VM “%s” at %s"), journey->vm, source->name);
	char uuid[VIR_UUID_STRING_BUFLEN];
	virDomainGetUUIDString(journey->domain, uuid);
	journey->report->vm_name = g_strdup(virDomainGetName(journey->domain));
	journey->report->vm_uuid = g_strdup(uuid);
	return true;
}

static bool read_domain(struct journey *journey, GError **error)
{
	const char *name = journey->report->vm_name;
	int state = 0, persistent = virDomainIsPersistent(journey->domain);
	if (virDomainGetState(journey->domain, &state, NULL, 0) < 0 || persistent < 0)
		return host_error(error, WATARI_ERROR_REFUSED, NULL, name);
	if (state != VIR_DOMAIN_RUNNING) {
		g_autofree char *next = g_strdup_printf(
			state == VIR_DOMAIN_PAUSED
				? _("Continue it (virsh resume %s), or find out who paused it.")
				: _("Start it there (virsh start %s), or move the definition."),
			name);
		return error_set(error, WATARI_ERROR_REFUSED, next,
				 state == VIR_DOMAIN_PAUSED
					 ? _("the VM %s at %s is paused, not running")
					 : _("the VM %s at %s is not running"),
				 name, journey->hosts[JOURNEY_SOURCE]->name);
	}
	journey->persistent = persistent == 1;
	journey->live_xml = virDomainGetXMLDesc(journey->domain, 0);
	if (!journey->live_xml)
		return host_error(error, WATARI_ERROR_REFUSED, NULL, name);
	journey->facts = domain_facts_read(journey->live_xml, error);
	return journey->facts != NULL;
}

/* The first refusal is the error; the others and the warnings are told, too. */
static bool judge(struct journey *journey, GError **error)
{
	GPtrArray *findings = journey->report->findings;
	bool good = true;
	for (guint i = 0; i < findings->len; i++) {
		struct check_finding *finding = findings->pdata[i];
		if (finding->result == CHECK_PASS)
			continue;
		if (finding->result == CHECK_REFUSE && good)
			good = error_set(error, WATARI_ERROR_REFUSED, finding->next, "%s",
					 finding->what);
		else
			journey_note(journey, true, "%s%s%s", finding->what,
				     finding->next ? " " : "", finding->next ? finding->next : "");
	}
	return good;
}

struct asking {
	struct journey *journey;
	GError *error;
	bool good;
};

static void ask(void *data)
{
	struct asking *asking = data;
	struct journey *journey = asking->journey;
	if (!find_domain(journey, &asking->error))
		return;
	if (!read_domain(journey, &asking->error))
		return;
	struct check_options options = { 0 };
	journey->report->findings =
		check_run(journey->hosts[JOURNEY_SOURCE], journey->domain,
			  journey->hosts[JOURNEY_DESTINATION], &options, &asking->error);
	asking->good = journey->report->findings != NULL;
}

bool phase_check(struct journey *journey, GError **error)
{
	struct asking asking = { .journey = journey };
	journey_call(journey, ask, &asking);
	if (!asking.good) {
		error_classify(&asking.error, WATARI_ERROR_REFUSED, NULL);
		g_propagate_error(error, asking.error);
		return false;
	}
	return judge(journey, error) && journey_check_cancel(journey, error);
}
