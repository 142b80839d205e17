/* SPDX-License-Identifier: Apache-2.0 */
/* Both hosts asked, and what a rule says carried out. */
#include "conductor/endings/ending.h"

#include "base/i18n.h"

#include <libvirt/virterror.h>

/* ---- looking ---- */

static void close_side(struct ending *ending, enum move_side side)
{
	if (ending->hosts[side] == ending->borrowed[side])
		ending->hosts[side] = NULL;
	ending->borrowed[side] = NULL;
	g_clear_pointer(&ending->hosts[side], host_free);
	g_clear_pointer(&ending->guards[side], guard_free);
}

void ending_close(struct ending *ending)
{
	for (int side = 0; side < MOVE_SIDES; side++)
		close_side(ending, side);
}

/* An address may mean another machine than it did when the move began. */
static bool is_the_machine(const struct ending *ending, enum move_side side, GError **error)
{
	const char *expected = ending->host_uuids[side], *found = ending->hosts[side]->uuid;
	return !expected || !found || g_str_equal(expected, found) ||
	       error_set(error, WATARI_ERROR_INTERNAL, NULL,
			 _("%s is another machine than the one the VM was moved at: libvirt there "
			   "says the host UUID %s, and not %s"),
			 ending->addresses[side]->text, found, expected);
}

static bool open_side(struct ending *ending, enum move_side side, GError **error)
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
	if (!ending->hosts[side] || !is_the_machine(ending, side, error))
		close_side(ending, side);
	return ending->hosts[side] != NULL;
}

static bool look_at_side(struct ending *ending, enum move_side side, struct host_vm *vm,
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
	for (int side = 0; side < MOVE_SIDES; side++)
		sight->known[side] =
			look_at_side(ending, side, &sight->vms[side], &sight->errors[side]);
}

/* ---- acting ---- */

#define LOOK_AT_BOTH N_("Look at both hosts (virsh list --all), then run “watari resolve”.")

static bool complain(struct ending *ending, enum move_side side, GError **error)
{
	g_autofree char *prefix =
		g_strdup_printf(_("%s at %s"), ending->name, ending->addresses[side]->text);
	return host_error(error, WATARI_ERROR_ATTENTION, _(LOOK_AT_BOTH), prefix);
}

/* A host that could not be opened is an answer too: nothing can be done with it. */
static bool is_connected(struct ending *ending, enum move_side side, GError **error)
{
	return ending->hosts[side] || error_set(error, WATARI_ERROR_ATTENTION, _(LOOK_AT_BOTH),
						_("%s at %s: the host does not answer"),
						ending->name, ending->addresses[side]->text);
}

static bool ask_again(struct ending *ending, enum move_side side, struct host_vm *vm,
		      GError **error)
{
	if (!is_connected(ending, side, error))
		return false;
	if (host_vm_ask(ending->hosts[side], ending->uuid, vm, error))
		return true;
	error_classify(error, WATARI_ERROR_ATTENTION, NULL);
	return false;
}

static bool has_changed(struct ending *ending, enum move_side side, GError **error)
{
	return error_set(error, WATARI_ERROR_ATTENTION, _("Run “watari resolve” again."),
			 _("%s at %s has changed its state meanwhile; nothing was done"),
			 ending->name, ending->addresses[side]->text);
}

/* What lies beside a definition goes with it where it is a description, or older than the VM; what the VM
 * itself needs stays. A saved memory is older only where the VM has run since. */
static bool undefine(struct ending *ending, virDomainPtr domain)
{
	unsigned flags = VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
			 VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | VIR_DOMAIN_UNDEFINE_KEEP_NVRAM |
			 VIR_DOMAIN_UNDEFINE_KEEP_TPM;
	/* an older libvirt refuses flags that it does not know, and then has nothing that they keep */
	static const unsigned younger[] = { VIR_DOMAIN_UNDEFINE_KEEP_TPM,
					    VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA,
					    VIR_DOMAIN_UNDEFINE_KEEP_NVRAM, 0 };
	if (!ending->was_off)
		flags |= VIR_DOMAIN_UNDEFINE_MANAGED_SAVE;
	for (size_t i = 0; i < G_N_ELEMENTS(younger); i++) {
		if (virDomainUndefineFlags(domain, flags) == 0)
			return true;
		virErrorPtr last = virGetLastError();
		if (!last || last->code != VIR_ERR_INVALID_ARG)
			return false;
		flags &= ~younger[i];
	}
	return false;
}

static virDomainPtr find_domain_there(struct ending *ending, enum move_side side, GError **error)
{
	virDomainPtr domain =
		is_connected(ending, side, error)
			? virDomainLookupByUUIDString(ending->hosts[side]->connection, ending->uuid)
			: NULL;
	if (!domain && ending->hosts[side])
		complain(ending, side, error);
	return domain;
}

static bool destroy(struct ending *ending, enum move_side side, bool forget, GError **error)
{
	virDomainPtr domain = find_domain_there(ending, side, error);
	if (!domain)
		return false;
	bool good = virDomainDestroy(domain) == 0;
	/* A transient copy is gone now. */
	if (good && forget && virDomainIsPersistent(domain) == 1)
		good = undefine(ending, domain);
	if (!good)
		complain(ending, side, error);
	virDomainFree(domain);
	return good;
}

/* A definition that is undefined while it runs would leave a VM that nobody knows of. */
static bool undefine_source(struct ending *ending, GError **error)
{
	struct host_vm source, destination;
	if (!ask_again(ending, MOVE_SOURCE, &source, error) ||
	    !ask_again(ending, MOVE_DESTINATION, &destination, error))
		return false;
	if (source.state != HOST_VM_OFF)
		return has_changed(ending, MOVE_SOURCE, error);
	if (destination.state == HOST_VM_ABSENT)
		return has_changed(ending, MOVE_DESTINATION, error);
	virDomainPtr domain = find_domain_there(ending, MOVE_SOURCE, error);
	if (!domain)
		return false;
	bool good = undefine(ending, domain);
	if (!good)
		complain(ending, MOVE_SOURCE, error);
	virDomainFree(domain);
	return good;
}

static bool is_as_seen(const struct host_vm *now, const struct host_vm *seen)
{
	bool stopped = now->state == HOST_VM_PAUSED || now->state == HOST_VM_INCOMING;
	return now->state == seen->state &&
	       (!stopped || ending_is_never_started(now) == ending_is_never_started(seen));
}

/* What was true when we looked must still be true at the moment of acting, so a copy whose state makes
 * this safe is asked once more. */
static bool still(struct ending *ending, enum move_side side, const struct ending_sight *seen,
		  GError **error)
{
	struct host_vm vm;
	if (!ask_again(ending, side, &vm, error))
		return false;
	return (seen->known[side] && is_as_seen(&vm, &seen->vms[side])) ||
	       has_changed(ending, side, error);
}

/* Of a host that need not answer: only what it says counts. */
static bool is_not_running(struct ending *ending, enum move_side side, GError **error)
{
	struct host_vm vm;
	if (!ending->hosts[side] || !host_vm_ask(ending->hosts[side], ending->uuid, &vm, NULL) ||
	    vm.state != HOST_VM_RUNNING)
		return true;
	return has_changed(ending, side, error);
}

static bool resume_source(struct ending *ending, const struct ending_sight *seen, GError **error)
{
	if (!still(ending, MOVE_SOURCE, seen, error))
		return false;
	virDomainPtr domain = find_domain_there(ending, MOVE_SOURCE, error);
	if (!domain)
		return false;
	/* a state that is still being saved is of no use any more */
	if (ending->state)
		virDomainAbortJob(domain);
	bool good = virDomainResume(domain) == 0;
	if (!good)
		complain(ending, MOVE_SOURCE, error);
	virDomainFree(domain);
	return good;
}

/* ---- from a saved state ---- */

static bool is_absent(struct ending *ending, enum move_side side, GError **error)
{
	struct host_vm vm;
	if (!ask_again(ending, side, &vm, error))
		return false;
	if (vm.state == HOST_VM_ABSENT || vm.state == HOST_VM_OFF)
		return true;
	return has_changed(ending, side, error);
}

static bool restore_source(struct ending *ending, GError **error)
{
	for (int side = 0; side < MOVE_SIDES; side++)
		if (!is_absent(ending, side, error))
			return false;
	return virDomainRestoreFlags(ending->hosts[MOVE_SOURCE]->connection, ending->state, NULL,
				     VIR_DOMAIN_SAVE_PAUSED) == 0 ||
	       complain(ending, MOVE_SOURCE, error);
}

static bool resume_destination(struct ending *ending, const struct ending_sight *seen,
			       GError **error)
{
	if (!still(ending, MOVE_DESTINATION, seen, error) || !is_absent(ending, MOVE_SOURCE, error))
		return false;
	virDomainPtr domain = find_domain_there(ending, MOVE_DESTINATION, error);
	if (!domain)
		return false;
	bool good = ending->paused_before || virDomainResume(domain) == 0;
	if (!good)
		complain(ending, MOVE_DESTINATION, error);
	virDomainFree(domain);
	return good;
}

/* NULL: there is none, or its host does not answer. */
static char *read_definition(struct ending *ending, enum move_side side)
{
	g_autoptr(GError) error = NULL;
	virDomainPtr domain = find_domain_there(ending, side, &error);
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
	virDomainPtr there = find_domain_there(ending, MOVE_DESTINATION, error), defined = NULL;
	if (!there)
		return false;
	bool good = virDomainIsPersistent(there) == 1;
	char *xml = good ? NULL : read_definition(ending, MOVE_SOURCE);
	if (!good && !xml)
		xml = read_definition(ending, MOVE_DESTINATION);
	if (xml)
		defined = virDomainDefineXML(ending->hosts[MOVE_DESTINATION]->connection, xml);
	good = good || defined;
	if (!good)
		complain(ending, MOVE_DESTINATION, error);
	if (defined)
		virDomainFree(defined);
	virDomainFree(there);
	free(xml); /* libvirt's */
	return good;
}

/* Its definition goes only where another one is. */
static bool end_stale(struct ending *ending, const struct ending_sight *seen, GError **error)
{
	struct host_vm there;
	if (!still(ending, MOVE_DESTINATION, seen, error) ||
	    !still(ending, MOVE_SOURCE, seen, error) ||
	    !ask_again(ending, MOVE_DESTINATION, &there, error))
		return false;
	return destroy(ending, MOVE_SOURCE, ending->undefine_source && there.persistent, error);
}

/* What is thrown away there is not needed only as long as the source is as it was seen. */
static bool end_destination(struct ending *ending, const struct ending_sight *seen, GError **error)
{
	return still(ending, MOVE_SOURCE, seen, error) &&
	       still(ending, MOVE_DESTINATION, seen, error) &&
	       destroy(ending, MOVE_DESTINATION, false, error);
}

bool ending_act(struct ending *ending, enum ending_action action, const struct ending_sight *seen,
		GError **error)
{
	switch (action) {
	case ENDING_NOTHING:
		return true;
	case ENDING_RESUME_SOURCE:
		return still(ending, MOVE_DESTINATION, seen, error) &&
		       resume_source(ending, seen, error);
	case ENDING_RESUME_SOURCE_ALONE:
		return is_not_running(ending, MOVE_DESTINATION, error) &&
		       resume_source(ending, seen, error);
	case ENDING_END_SOURCE:
		return still(ending, MOVE_DESTINATION, seen, error) &&
		       still(ending, MOVE_SOURCE, seen, error) &&
		       destroy(ending, MOVE_SOURCE, ending->undefine_source, error);
	case ENDING_END_STALE:
		return end_stale(ending, seen, error);
	case ENDING_END_DESTINATION:
		return end_destination(ending, seen, error);
	case ENDING_END_DESTINATION_RESUME:
		return end_destination(ending, seen, error) && resume_source(ending, seen, error);
	case ENDING_UNDEFINE_SOURCE:
		return !ending->undefine_source || undefine_source(ending, error);
	case ENDING_RESTORE_SOURCE:
		return restore_source(ending, error);
	case ENDING_END_DESTINATION_RESTORE:
		return end_destination(ending, seen, error) && restore_source(ending, error);
	case ENDING_RESUME_DESTINATION:
		return resume_destination(ending, seen, error);
	case ENDING_ACTION_LAST:
		break;
	}
	g_assert_not_reached();
}

bool ending_resumes_source(enum ending_action action)
{
	return action == ENDING_RESUME_SOURCE || action == ENDING_RESUME_SOURCE_ALONE ||
	       action == ENDING_END_DESTINATION_RESUME;
}
