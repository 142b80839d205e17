/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of the VM itself: its state, its name, what is at work on it. */
#include "host/checks/checks.h"

#include "base/i18n.h"
#include "host/machine.h"

#include <libvirt/virterror.h>
#include <string.h>

static const struct {
	int state;
	const char *what, *next;
} states[] = {
	{ VIR_DOMAIN_NOSTATE, NULL, NULL },
	{ VIR_DOMAIN_RUNNING, NULL, NULL },
	{ VIR_DOMAIN_BLOCKED, NULL, NULL },
	{ VIR_DOMAIN_PAUSED, NULL, NULL },
	{ VIR_DOMAIN_SHUTDOWN, N_("it is shutting down"), N_("Wait until it is off.") },
	{ VIR_DOMAIN_SHUTOFF, N_("it is not running"),
	  N_("Start it first, or move it as it is: watari migrate --offline.") },
	{ VIR_DOMAIN_CRASHED, N_("it has crashed"), N_("Reset or restart it first.") },
	{ VIR_DOMAIN_PMSUSPENDED, N_("it sleeps (suspended by its guest)"),
	  N_("Wake it up first: virsh dompmwakeup.") },
};

void check_vm_state(struct check_context *context)
{
	int state = 0, reason = 0;
	if (virDomainGetState(context->domain, &state, &reason, 0) < 0) {
		check_add_virt(context, "vm", CHECK_REFUSE, NULL, context->name);
		return;
	}
	if (state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_IOERROR) {
		check_add(context->findings, "vm", CHECK_REFUSE,
			  _("Repair its storage and resume it first."),
			  _("“%s” is paused because of an I/O error"), context->name);
		return;
	}
	if (state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_MIGRATION) {
		g_autofree char *next =
			g_strdup_printf(_("Run “watari resolve %s” first."), context->name);
		check_add(context->findings, "vm", CHECK_REFUSE, next,
			  _("“%s” is paused by a migration that did not end; it may run at the "
			    "other host"),
			  context->name);
		return;
	}
	if (state == VIR_DOMAIN_PAUSED) {
		check_add(context->findings, "vm", CHECK_WARN, NULL,
			  _("“%s” is paused; it will be paused at the destination"), context->name);
		return;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(states); i++) {
		if (states[i].state != state || !states[i].what)
			continue;
		check_add(context->findings, "vm", CHECK_REFUSE, _(states[i].next),
			  _("“%s” cannot be migrated: %s"), context->name, _(states[i].what));
		return;
	}
	check_add(context->findings, "vm", CHECK_PASS, NULL, NULL);
}

void check_vm_off(struct check_context *context)
{
	int state = 0, reason = 0;
	if (virDomainGetState(context->domain, &state, &reason, 0) < 0)
		check_add_virt(context, "vm", CHECK_REFUSE, NULL, context->name);
	else if (state == VIR_DOMAIN_SHUTOFF)
		check_add(context->findings, "vm", CHECK_PASS, NULL, NULL);
	else
		check_add(context->findings, "vm", CHECK_REFUSE,
			  _("Leave --offline out, or shut it down first."),
			  _("“%s” is not off, and --offline moves only what is"), context->name);
}

/* libvirt refuses both: by UUID, and by name, since it takes equal names for equal hosts. */
void check_same_host(struct check_context *context)
{
	enum machine_relation relation = machine_compare(context->source, context->destination);
	if (relation == MACHINE_TWINS)
		check_add(context->findings, "same-host", CHECK_REFUSE, _(MACHINE_TWINS_CURE),
			  _(MACHINE_TWINS_WORDS), context->source->name, context->destination->name,
			  context->source->uuid);
	else if (relation == MACHINE_SAME)
		check_add(context->findings, "same-host", CHECK_REFUSE, _("Name another host."),
			  _("“%s” already runs at %s: source and destination are the same host"),
			  context->name, context->destination->name);
	else if (g_strcmp0(context->source->name, context->destination->name) == 0)
		check_add(context->findings, "same-host", CHECK_REFUSE,
			  _("Give one of the hosts another name (hostnamectl hostname NAME)."),
			  _("both hosts are called “%s”, and libvirt refuses to migrate between "
			    "hosts of one name"),
			  context->source->name);
	else
		check_add(context->findings, "same-host", CHECK_PASS, NULL, NULL);
}

static void find_by_name(struct check_context *context, const char *name, const char *uuid)
{
	char there[VIR_UUID_STRING_BUFLEN] = "";
	virDomainPtr other = virDomainLookupByName(context->destination->connection, name);
	if (!other)
		return;
	virDomainGetUUIDString(other, there);
	if (strcmp(there, uuid) != 0)
		check_add(context->findings, "name", CHECK_REFUSE,
			  _("Rename that VM while it is off: virsh domrename."),
			  _("%s already has another VM called “%s” (UUID %s)"),
			  context->destination->name, name, there);
	virDomainFree(other);
}

static void find_by_uuid(struct check_context *context, const char *name, const char *uuid)
{
	virDomainPtr other = virDomainLookupByUUIDString(context->destination->connection, uuid);
	if (!other)
		return;
	const char *other_name = virDomainGetName(other);
	if (virDomainIsActive(other) == 1) {
		g_autofree char *next = g_strdup_printf(
			_("Run “watari resolve %s”: two copies of one VM must not exist."), name);
		check_add(context->findings, "uuid", CHECK_REFUSE, next,
			  _("a VM with the same UUID (“%s”) is already active at %s"), other_name,
			  context->destination->name);
	} else if (context->options->offline) {
		check_add(context->findings, "uuid", CHECK_REFUSE,
			  _("If it is an old copy, undefine it there: virsh undefine."),
			  _("%s has a definition of “%s” already"), context->destination->name,
			  other_name);
	} else if (strcmp(other_name, name) != 0)
		check_add(context->findings, "uuid", CHECK_REFUSE,
			  _("If it is an old copy, undefine it there: virsh undefine."),
			  _("%s already has a VM with the same UUID under another name (“%s”)"),
			  context->destination->name, other_name);
	else
		check_add(context->findings, "uuid", CHECK_PASS, NULL,
			  _("%s has a definition of “%s” that is off; --persistent replaces it"),
			  context->destination->name, name);
	virDomainFree(other);
}

void check_name_taken(struct check_context *context)
{
	char uuid[VIR_UUID_STRING_BUFLEN] = "";
	const char *name = context->options->destination_name;
	unsigned before = context->findings->len;
	name = name ? name : context->name;
	virDomainGetUUIDString(context->domain, uuid);
	/* at the very same host it is the VM itself: said already */
	if (machine_compare(context->source, context->destination) == MACHINE_SAME)
		return;
	find_by_name(context, name, uuid);
	find_by_uuid(context, name, uuid);
	if (context->findings->len == before)
		check_add(context->findings, "name", CHECK_PASS, NULL, NULL);
}

/* Is what is at work a migration? */
static bool is_migrating(virDomainPtr domain)
{
	virTypedParameterPtr stats = NULL;
	int type = 0, count = 0, operation = 0;
	if (virDomainGetJobStats(domain, &type, &stats, &count, 0) < 0)
		return false;
	virTypedParamsGetInt(stats, count, VIR_DOMAIN_JOB_OPERATION, &operation);
	virTypedParamsFree(stats, count);
	return operation == VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT ||
	       operation == VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN;
}

static void refuse_job(struct check_context *context, bool migration)
{
	g_autofree char *next = g_strdup_printf(
		_("Wait for its end (watari watch %s), or cancel it (watari cancel %s)."),
		context->name, context->name);
	if (migration)
		check_add(context->findings, "job", CHECK_REFUSE, next,
			  _("another migration of “%s” is under way"), context->name);
	else
		check_add(context->findings, "job", CHECK_REFUSE,
			  _("Wait for it, or end it: virsh domjobinfo, virsh domjobabort."),
			  _("libvirt is at work on “%s” already (save, dump or backup)"),
			  context->name);
}

static void check_block_jobs(struct check_context *context)
{
	g_autoptr(GPtrArray) targets = xml_find(context->vm, NULL, "devices/disk/target/@dev");
	for (unsigned i = 0; i < targets->len; i++) {
		virDomainBlockJobInfo info = { 0 };
		xmlChar *target = xmlNodeGetContent(targets->pdata[i]);
		if (virDomainGetBlockJobInfo(context->domain, (const char *) target, &info, 0) ==
		    1) {
			g_autofree char *next = g_strdup_printf(
				_("Wait for it or end it: virsh blockjob %s %s --abort."),
				context->name, (const char *) target);
			check_add(context->findings, "block-job", CHECK_REFUSE, next,
				  _("a block job is at work on the disk %s of “%s”"),
				  (const char *) target, context->name);
		}
		xmlFree(target);
	}
}

void check_jobs(struct check_context *context)
{
	virDomainJobInfo job = { 0 };
	virDomainControlInfo control = { 0 };
	unsigned before = context->findings->len;
	/* the state of the monitor is known without asking QEMU; job statistics are not */
	if (virDomainGetControlInfo(context->domain, &control, 0) == 0 &&
	    (control.state == VIR_DOMAIN_CONTROL_ERROR ||
	     control.state == VIR_DOMAIN_CONTROL_OCCUPIED))
		check_add(context->findings, "job", CHECK_REFUSE,
			  _("Wait, or see what libvirt's log says about it."),
			  _("QEMU's monitor of “%s” does not answer libvirt"), context->name);
	else if (virDomainGetJobInfo(context->domain, &job) == 0 &&
		 job.type != VIR_DOMAIN_JOB_NONE && job.type != VIR_DOMAIN_JOB_COMPLETED)
		refuse_job(context, is_migrating(context->domain));
	check_block_jobs(context);
	if (context->findings->len == before)
		check_add(context->findings, "job", CHECK_PASS, NULL, NULL);
}

/* Before 9.0 a page that the guest rewrites right after QEMU looked which ones are dirty may never
 * be sent again: an error of QEMU's translator (docs/qemu-stream.md), not seen with KVM. */
void check_tcg(struct check_context *context)
{
	static const unsigned long repaired = 9000000;
	if (g_strcmp0(context->virt_type, "qemu") != 0 ||
	    context->source->qemu_version >= repaired) {
		check_add(context->findings, "tcg", CHECK_PASS, NULL, NULL);
		return;
	}
	g_autofree char *version = host_format_version(context->source->qemu_version);
	check_add(context->findings, "tcg", CHECK_WARN,
		  _("Use --verify-memory full, which finds such pages, or run the VM with KVM."),
		  _("“%s” runs without KVM (TCG) in QEMU %s of %s, and QEMU before 9.0 may then "
		    "lose memory pages in a migration, by an error of its own"),
		  context->name, version, context->source->name);
}

void check_persistence(struct check_context *context)
{
	bool saved = virDomainHasManagedSaveImage(context->domain, 0) == 1;
	if (saved && context->options->offline)
		check_add(context->findings, "persistence", CHECK_REFUSE,
			  _("Start it and move it while it runs, or remove what was saved: virsh "
			    "managedsave-remove."),
			  _("“%s” is not off but saved (virsh managedsave), and its memory would "
			    "stay at the source"),
			  context->name);
	else if (saved)
		check_add(context->findings, "persistence", CHECK_WARN,
			  _("Remove it if it is old: virsh managedsave-remove."),
			  _("“%s” has a managed save image, which does not go along"),
			  context->name);
	else if (virDomainIsPersistent(context->domain) == 0)
		check_add(context->findings, "persistence", CHECK_PASS, NULL,
			  _("“%s” is transient: nothing of it stays defined at the source"),
			  context->name);
	else
		check_add(context->findings, "persistence", CHECK_PASS, NULL, NULL);
}

/* ---- the dry run ---- */

#define DRY_SCHEME "watari-dry-run"

/* Did the destination stumble over our scheme, which it does after the source agreed? */
static bool is_our_stumble(virErrorPtr last)
{
	return last && last->message && strstr(last->message, DRY_SCHEME);
}

/* Is this the source speaking about snapshots, whose metadata the move takes care of? It is the
 * first thing libvirt looks at, so that nothing more is learned here. */
static bool is_about_snapshots(struct check_context *context)
{
	return virDomainSnapshotNum(context->domain, 0) > 0;
}

/* Somebody began with the VM since it was asked for its jobs: another move, a save, a backup. */
static bool is_about_other_job(virErrorPtr last)
{
	return last && (last->code == VIR_ERR_OPERATION_TIMEOUT ||
			(last->message && (strstr(last->message, "migration job") ||
					   strstr(last->message, "active block job"))));
}

static void add_other_job(struct check_context *context, virErrorPtr last)
{
	g_autofree char *next = g_strdup_printf(
		_("Wait for its end (watari watch %s, virsh domjobinfo %s), then try again."),
		context->name, context->name);
	check_add(context->findings, "job", CHECK_REFUSE, next,
		  _("“%s” is being moved, saved or backed up already: %s"), context->name,
		  last->message ? last->message : _("libvirt gave no reason"));
}

/* libvirt's Begin step asks QEMU for its blockers ("blocked-reasons") and runs its own checks, and
 * has no call of its own. The monitor command that would ask QEMU marks the VM as tainted. So the
 * migration call itself is made, with a URI that the destination refuses in its very first lines,
 * before it makes anything: Begin, refused Prepare, Confirm (cancelled). Nothing moves and nothing
 * is left, and the reason comes in libvirt's words. */
void check_dry_run(struct check_context *context)
{
	virTypedParameterPtr parameters = NULL;
	int count = 0, limit = 0;
	/* whether the disks are shared is proven elsewhere, better than by the kind of file system */
	unsigned long flags = context->options->flags ? context->options->flags
						      : VIR_MIGRATE_LIVE | VIR_MIGRATE_UNSAFE;
	for (unsigned i = 0; i < context->findings->len; i++) {
		const struct check_finding *finding = context->findings->pdata[i];
		/* not running, or at work already: it could only fail for that reason again */
		if (finding->result == CHECK_REFUSE &&
		    (!strcmp(finding->check, "vm") || !strcmp(finding->check, "job") ||
		     !strcmp(finding->check, "same-host")))
			return;
	}
	if (is_about_snapshots(context))
		return;
	virTypedParamsAddString(&parameters, &count, &limit, VIR_MIGRATE_PARAM_URI,
				DRY_SCHEME "://nowhere");
	virDomainPtr moved = virDomainMigrate3(context->domain, context->destination->connection,
					       parameters, (unsigned) count, (unsigned) flags);
	virErrorPtr last = virGetLastError();
	if (moved)
		virDomainFree(moved);
	else if (is_about_other_job(last))
		add_other_job(context, last);
	else if (!is_our_stumble(last))
		check_add(context->findings, "blockers", CHECK_REFUSE,
			  _("Remove what is named, or move the VM while it is off (--offline)."),
			  _("libvirt and QEMU refuse to migrate “%s”: %s"), context->name,
			  last && last->message ? last->message : _("libvirt gave no reason"));
	else
		check_add(context->findings, "blockers", CHECK_PASS, NULL, NULL);
	virTypedParamsFree(parameters, count);
}
