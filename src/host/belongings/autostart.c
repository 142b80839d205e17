/* SPDX-License-Identifier: Apache-2.0 */
/* Carries the mark that a VM starts with its host. It may be set at one host only: after a power cut
 * two hosts would both start the VM. */
#include "host/belongings/belongings.h"

#include "base/i18n.h"

static JsonNode *read_autostart(virDomainPtr domain, GError **error)
{
	int on = 0;
	/* of a transient VM there is no such mark */
	if (virDomainIsPersistent(domain) != 1)
		return NULL;
	if (virDomainGetAutostart(domain, &on) < 0) {
		host_error(error, WATARI_ERROR_INTERNAL, NULL,
			   _("whether it starts with its host"));
		return NULL;
	}
	return on ? json_node_init_boolean(json_node_alloc(), TRUE) : NULL;
}

static bool set_autostart(virDomainPtr domain, bool wanted, GError **error)
{
	int on = 0;
	if (virDomainIsPersistent(domain) != 1)
		return true;
	if (virDomainGetAutostart(domain, &on) == 0 && (on != 0) == wanted)
		return true;
	return virDomainSetAutostart(domain, wanted) == 0 ||
	       host_error(error, WATARI_ERROR_INTERNAL, NULL,
			  wanted ? _("it does not start with its host")
				 : _("it still starts with the host that it left"));
}

static bool give_autostart(virDomainPtr domain, JsonNode *value, GError **error)
{
	return set_autostart(domain, true, error);
}

static bool leave_autostart(virDomainPtr domain, JsonNode *value, GError **error)
{
	return set_autostart(domain, false, error);
}

const struct belonging_carrier belonging_autostart = {
	.read = read_autostart,
	.give = give_autostart,
	.leave = leave_autostart,
};

void belonging_check_autostart(struct check_context *context)
{
	int on = 0;
	bool defined_there = context->options->offline || !context->options->flags ||
			     context->options->flags & VIR_MIGRATE_PERSIST_DEST;
	if (virDomainIsPersistent(context->domain) != 1 ||
	    virDomainGetAutostart(context->domain, &on) < 0 || !on)
		return;
	if (defined_there)
		check_add(context->findings, "autostart", CHECK_PASS, NULL,
			  _("“%s” starts with its host: then with %s, and no more with %s"),
			  context->name, context->destination->name, context->source->name);
	else
		check_add(context->findings, "autostart", CHECK_WARN,
			  _("Use --persistent, and it is defined there and starts with that host."),
			  _("“%s” starts with its host, and would not any more: it is not defined "
			    "at %s"),
			  context->name, context->destination->name);
}
