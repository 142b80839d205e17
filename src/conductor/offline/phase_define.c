/* SPDX-License-Identifier: Apache-2.0 */
/* The definition of a VM that is off goes to the destination. That it leaves the source is the end's
 * business (settle.c), which looks at both hosts first. */
#include "conductor/disks/disk_params.h"
#include "conductor/core/stage.h"
#include "conductor/offline/offline.h"

#include "base/i18n.h"

struct defining {
	struct move *move;
	GError *error;
};

static bool is_vm_absent(struct move *move, GError **error)
{
	struct host *host = move->hosts[MOVE_DESTINATION];
	struct host_vm vm;
	if (!host_vm_ask(host, move->report->vm_uuid, &vm, error))
		return false;
	return vm.state == HOST_VM_ABSENT ||
	       error_set(error, WATARI_ERROR_FAILED,
			 _("Find out what it is; nothing of it was touched."),
			 _("somebody defined “%s” at %s meanwhile"), move->report->vm_name,
			 host->name);
}

static void call_check_definition(void *data)
{
	struct defining *defining = data;
	is_vm_absent(defining->move, &defining->error);
}

static void call_define_vm(void *data)
{
	struct defining *defining = data;
	struct move *move = defining->move;
	struct host *host = move->hosts[MOVE_DESTINATION];
	g_autofree char *xml = disk_params_describe_there(
		move, VIR_DOMAIN_XML_MIGRATABLE | VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_INACTIVE,
		&defining->error);
	if (!xml)
		return;
	virDomainPtr domain = virDomainDefineXML(host->connection, xml);
	if (!domain) {
		g_autofree char *prefix = g_strdup_printf(_("“%s” cannot be defined at %s"),
							  move->report->vm_name, host->name);
		host_error(&defining->error, WATARI_ERROR_FAILED, NULL, prefix);
		return;
	}
	virDomainFree(domain);
}

/* Whoever picks this move up must know that its images may be those of a definition now. Without any journal
 * nobody picks it up. */
static bool enter_defining(struct move *move, GError **error)
{
	move->defining = stage_enter(move, STAGE_DEFINING, NULL, error);
	return move->defining;
}

bool phase_define(struct move *move, GError **error)
{
	struct defining defining = { .move = move };
	if (!offline_check_off(move, error) || !move_check_cancel(move, error))
		return false;
	move_call(move, call_check_definition, &defining);
	if (!defining.error && enter_defining(move, &defining.error))
		move_call(move, call_define_vm, &defining);
	if (defining.error) {
		/* the disks are there: whatever it is, it comes too late for a refusal */
		g_autofree char *what = error_what(defining.error);
		g_autofree char *next = error_next(defining.error);
		g_error_free(defining.error);
		return error_set(error, WATARI_ERROR_FAILED, next, "%s", what);
	}
	if (!move->undefine_source)
		move_note(move, true,
			  _("“%s” is defined at both hosts now: start only one of them."),
			  move->report->vm_name);
	return true;
}
