/* SPDX-License-Identifier: Apache-2.0 */
/* Both hosts asked, and what a rule says carried out. */
#include "journey/ending/ending.h"

#include "base/i18n.h"

#include <libvirt/virterror.h>

/* ---- looking ---- */

static void close_side(struct ending *ending, enum journey_side side)
{
	if (ending->hosts[side] == ending->borrowed[side])
		ending->hosts[side] = NULL;
	ending->borrowed[side] = NULL;
	g_clear_pointer(&ending->hosts[side], host_free);
	g_clear_pointer(&ending->guards[side], guard_free);
}

void ending_close(struct ending *ending)
{
	for (int side = 0; side < JOURNEY_SIDES; side++)
		close_side(ending, side);
}

static bool open_side(struct ending *ending, enum journey_side side, GError **error)
{
	if (!ending->hosts[side])
		ending->hosts[side] = ending->borrowed[side];
	if (ending->hosts[side])
		return true;
	/* A relay serves one connection. This guard is never armed: nothing is decided here by the
	 * library. */
	ending->guards[side] = guard_new(error);
	if (!ending->guards[side])
		return false;
	ending->hosts[side] = host_open_guarded(ending->guards[side], GUARD_SOURCE, ending->shell,
						ending->addresses[side], error);
	if (!ending->hosts[side])
		close_side(ending, side);
	return ending->hosts[side] != NULL;
}

static bool look_at(struct ending *ending, enum journey_side side, struct host_vm *vm,
		    GError **error)
{
	if (!open_side(ending, side, error))
		return false;
	if (host_vm_ask(ending->hosts[side], ending->uuid, vm, error))
		return true;
	/* The connection may have died since the last look. */
	close_side(ending, side);
	return false;
}

void ending_look(struct ending *ending, struct ending_sight *sight)
{
	*sight = (struct ending_sight){ 0 };
	for (int side = 0; side < JOURNEY_SIDES; side++)
		sight->known[side] = look_at(ending, side, &sight->vms[side], &sight->errors[side]);
}

/* ---- acting ---- */

static bool complain(struct ending *ending, enum journey_side side, GError **error)
{
	g_autofree char *prefix =
		g_strdup_printf(_("%s at %s"), ending->name, ending->addresses[side]->text);
	return host_error(error, WATARI_ERROR_ATTENTION,
			  _("Look at both hosts (virsh list --all), then run “watari resolve”."),
			  prefix);
}

static bool ask(struct ending *ending, enum journey_side side, struct host_vm *vm, GError **error)
{
	if (host_vm_ask(ending->hosts[side], ending->uuid, vm, error))
		return true;
	error_classify(error, WATARI_ERROR_ATTENTION, NULL);
	return false;
}

static bool has_changed(struct ending *ending, enum journey_side side, GError **error)
{
	return error_set(error, WATARI_ERROR_ATTENTION, _("Run “watari resolve” again."),
			 _("%s at %s has changed its state meanwhile; nothing was done"),
			 ending->name, ending->addresses[side]->text);
}

static bool undefine(virDomainPtr domain)
{
	return virDomainUndefineFlags(domain, VIR_DOMAIN_UNDEFINE_KEEP_NVRAM |
						      VIR_DOMAIN_UNDEFINE_KEEP_TPM) == 0;
}

static virDomainPtr find(struct ending *ending, enum journey_side side)
{
	if (!ending->hosts[side])
		return NULL;
	return virDomainLookupByUUIDString(ending->hosts[side]->connection, ending->uuid);
}

static bool destroy(struct ending *ending, enum journey_side side, bool forget, GError **error)
{
	virDomainPtr domain = find(ending, side);
	if (!domain)
		return complain(ending, side, error);
	bool good = virDomainDestroy(domain) == 0;
	/* A transient copy is gone now. */
	if (good && forget && virDomainIsPersistent(domain) == 1)
		good = undefine(domain);
	if (!good)
		complain(ending, side, error);
	virDomainFree(domain);
	return good;
}

/* A definition that is undefined while it runs would leave a VM that nobody knows of. */
static bool undefine_source(struct ending *ending, GError **error)
{
	struct host_vm source, destination;
	if (!ask(ending, JOURNEY_SOURCE, &source, error) ||
	    !ask(ending, JOURNEY_DESTINATION, &destination, error))
		return false;
	if (source.state != HOST_VM_OFF)
		return has_changed(ending, JOURNEY_SOURCE, error);
	if (destination.state == HOST_VM_ABSENT)
		return has_changed(ending, JOURNEY_DESTINATION, error);
	virDomainPtr domain = find(ending, JOURNEY_SOURCE);
	if (!domain)
		return complain(ending, JOURNEY_SOURCE, error);
	bool good = undefine(domain);
	if (!good)
		complain(ending, JOURNEY_SOURCE, error);
	virDomainFree(domain);
	return good;
}

static bool resume_source(struct ending *ending, GError **error)
{
	virDomainPtr domain = find(ending, JOURNEY_SOURCE);
	if (!domain)
		return complain(ending, JOURNEY_SOURCE, error);
	/* a state that is still being saved is of no use any more */
	if (ending->state)
		virDomainAbortJob(domain);
	bool good = virDomainResume(domain) == 0;
	if (!good)
		complain(ending, JOURNEY_SOURCE, error);
	virDomainFree(domain);
	return good;
}

/* ---- from a saved state ---- */

static bool is_absent(struct ending *ending, enum journey_side side, GError **error)
{
	struct host_vm vm;
	if (!ask(ending, side, &vm, error))
		return false;
	if (vm.state == HOST_VM_ABSENT || vm.state == HOST_VM_OFF)
		return true;
	return has_changed(ending, side, error);
}

static bool restore_source(struct ending *ending, GError **error)
{
	for (int side = 0; side < JOURNEY_SIDES; side++)
		if (!is_absent(ending, side, error))
			return false;
	return virDomainRestoreFlags(ending->hosts[JOURNEY_SOURCE]->connection, ending->state, NULL,
				     VIR_DOMAIN_SAVE_PAUSED) == 0 ||
	       complain(ending, JOURNEY_SOURCE, error);
}

static bool resume_destination(struct ending *ending, GError **error)
{
	virDomainPtr domain = find(ending, JOURNEY_DESTINATION);
	bool good = domain && is_absent(ending, JOURNEY_SOURCE, error) &&
		    (ending->paused_before || virDomainResume(domain) == 0);
	if (!good && !*error)
		complain(ending, JOURNEY_DESTINATION, error);
	if (domain)
		virDomainFree(domain);
	return good;
}

static char *read_definition(struct ending *ending, enum journey_side side)
{
	virDomainPtr domain = find(ending, side);
	char *xml = domain ? virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_MIGRATABLE |
								 VIR_DOMAIN_XML_SECURE |
								 VIR_DOMAIN_XML_INACTIVE)
			   : NULL;
	if (domain)
		virDomainFree(domain);
	return xml;
}

bool ending_define(struct ending *ending, GError **error)
{
	virDomainPtr there = find(ending, JOURNEY_DESTINATION), defined = NULL;
	bool good = there && virDomainIsPersistent(there) == 1;
	char *xml = there && !good ? read_definition(ending, JOURNEY_SOURCE) : NULL;
	if (there && !good && !xml)
		xml = read_definition(ending, JOURNEY_DESTINATION);
	if (xml)
		defined = virDomainDefineXML(ending->hosts[JOURNEY_DESTINATION]->connection, xml);
	good = good || defined;
	if (!good)
		complain(ending, JOURNEY_DESTINATION, error);
	if (defined)
		virDomainFree(defined);
	if (there)
		virDomainFree(there);
	free(xml); /* libvirt's */
	return good;
}

/* What was true when we looked must still be true at the moment of acting: the other copy, whose
 * state makes this safe, is asked once more. */
static bool still(struct ending *ending, enum journey_side side, bool running, GError **error)
{
	struct host_vm vm;
	if (!ask(ending, side, &vm, error))
		return false;
	if ((vm.state == HOST_VM_RUNNING) == running)
		return true;
	return has_changed(ending, side, error);
}

/* Its definition goes only where another one is. */
static bool end_stale(struct ending *ending, GError **error)
{
	struct host_vm there;
	if (!still(ending, JOURNEY_DESTINATION, false, error) ||
	    !still(ending, JOURNEY_SOURCE, false, error) ||
	    !ask(ending, JOURNEY_DESTINATION, &there, error))
		return false;
	return destroy(ending, JOURNEY_SOURCE, ending->undefine_source && there.persistent, error);
}

bool ending_act(struct ending *ending, enum ending_action action, GError **error)
{
	switch (action) {
	case ENDING_NOTHING:
		return true;
	case ENDING_RESUME_SOURCE:
		return still(ending, JOURNEY_DESTINATION, false, error) &&
		       resume_source(ending, error);
	case ENDING_END_SOURCE:
		return still(ending, JOURNEY_DESTINATION, true, error) &&
		       still(ending, JOURNEY_SOURCE, false, error) &&
		       destroy(ending, JOURNEY_SOURCE, ending->undefine_source, error);
	case ENDING_END_STALE:
		return end_stale(ending, error);
	case ENDING_END_DESTINATION:
		return still(ending, JOURNEY_DESTINATION, false, error) &&
		       destroy(ending, JOURNEY_DESTINATION, false, error);
	case ENDING_END_DESTINATION_RESUME:
		return still(ending, JOURNEY_DESTINATION, false, error) &&
		       destroy(ending, JOURNEY_DESTINATION, false, error) &&
		       resume_source(ending, error);
	case ENDING_UNDEFINE_SOURCE:
		return !ending->undefine_source || undefine_source(ending, error);
	case ENDING_RESTORE_SOURCE:
		return restore_source(ending, error);
	case ENDING_END_DESTINATION_RESTORE:
		return still(ending, JOURNEY_DESTINATION, false, error) &&
		       destroy(ending, JOURNEY_DESTINATION, false, error) &&
		       restore_source(ending, error);
	case ENDING_RESUME_DESTINATION:
		return resume_destination(ending, error);
	}
	g_assert_not_reached();
}
