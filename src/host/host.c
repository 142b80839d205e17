/* SPDX-License-Identifier: Apache-2.0 */
/* One libvirt host. See host.h. */
#include "host/host.h"

#include "base/i18n.h"
#include "host/xml.h"

#include <libvirt/virterror.h>
#include <stdio.h>
#include <string.h>

bool host_error(GError **error, enum watari_error code, const char *next, const char *prefix)
{
	virErrorPtr last = virGetLastError();
	return error_set(error, code, next, "%s: %s", prefix,
			 last && last->message ? last->message : _("libvirt gave no reason"));
}

char *host_format_version(unsigned long version)
{
	return g_strdup_printf("%lu.%lu.%lu", version / 1000000, version / 1000 % 1000,
			       version % 1000);
}

/* libvirt prints every error on stderr unless told otherwise; ours are printed once, at the top. */
static void silence(void *data, virErrorPtr error)
{
}

static void read_security(struct host *host, struct xml *xml)
{
	g_autofree char *label = NULL;
	label = xml_string(xml, NULL,
			   "host/secmodel[model='dac']/baselabel[@type='kvm' or @type='qemu']");
	host->qemu_uid = host->qemu_gid = -1;
	if (label && sscanf(label, "+%d:+%d", &host->qemu_uid, &host->qemu_gid) != 2)
		host->qemu_uid = host->qemu_gid = -1;
	host->security_model =
		xml_string(xml, NULL, "host/secmodel/model[.='apparmor' or .='selinux']");
}

/* libvirt's strings are malloc'ed, GLib's too, but only free() may be promised for the former. */
static char *take_string(char *text)
{
	char *copy = g_strdup(text);
	free(text);
	return copy;
}

static bool read_facts(struct host *host, GError **error)
{
	host->capabilities = take_string(virConnectGetCapabilities(host->connection));
	host->name = take_string(virConnectGetHostname(host->connection));
	if (!host->capabilities || !host->name ||
	    virConnectGetLibVersion(host->connection, &host->libvirt_version) < 0 ||
	    virConnectGetVersion(host->connection, &host->qemu_version) < 0)
		return host_error(error, WATARI_ERROR_REFUSED, NULL, host->address->text);
	struct xml *xml = xml_read(host->capabilities, error);
	if (!xml)
		return false;
	host->uuid = xml_string(xml, NULL, "host/uuid");
	read_security(host, xml);
	xml_free(xml);
	return true;
}

/* What a failed connection calls for, by what libvirt says. */
static char *advise_connection(const struct host_address *address)
{
	virErrorPtr last = virGetLastError();
	switch (last ? last->code : 0) {
	case VIR_ERR_AUTH_UNAVAILABLE:
	case VIR_ERR_AUTH_FAILED:
	case VIR_ERR_AUTH_CANCELLED:
		return g_strdup(_("Connect as root or as a member of the group libvirt there."));
	default:
		if (!address->shell)
			return g_strdup(_("See whether “virsh -c qemu:///system list” works, and "
					  "run “watari doctor”."));
		return g_strdup_printf(_("See whether “virsh -c qemu+ssh://%s/system list” works, "
					 "and run “watari doctor %s”."),
				       address->shell, address->shell);
	}
}

/* The same when ssh, or what it started there, complained. */
static char *advise_behind_ssh(const struct remote_shell *shell, const struct host_address *address,
			       const char *reason)
{
	const char *host = address->shell;
	g_autofree char *rsh = shell && shell->rsh ? g_strjoinv(" ", shell->rsh)
						   : g_strdup("ssh -o BatchMode=yes");
	if (strstr(reason, "-sock") || strstr(reason, "virt-ssh-helper"))
		return g_strdup_printf(
			_("See whether libvirtd runs there (systemctl status libvirtd, or "
			  "virtqemud) and whether you may use it (root, group libvirt), and run "
			  "“watari doctor %s”."),
			host);
	return g_strdup_printf(_("See whether “%s %s true” works, and run “watari doctor %s”."),
			       rsh, host, host);
}

/* The library's own log would write warnings between the lines of our progress; LIBVIRT_DEBUG, if
 * the user sets it, still has its say. Read by libvirt once, in virInitialize. */
void host_prepare_library(void)
{
	static gsize once;
	if (g_once_init_enter(&once)) {
		g_setenv("LIBVIRT_DEBUG", "error", FALSE);
		virInitialize();
		virSetErrorFunc(NULL, silence);
		g_once_init_leave(&once, 1);
	}
}

struct host *host_open(const struct host_address *address, const char *uri, GError **error)
{
	host_prepare_library();
	struct host *host = g_new0(struct host, 1);
	host->address = address;
	host->connection = virConnectOpen(uri);
	if (!host->connection) {
		g_autofree char *prefix =
			g_strdup_printf(_("cannot connect to libvirt at %s"), address->text);
		g_autofree char *next = advise_connection(address);
		host_error(error, WATARI_ERROR_REFUSED, next, prefix);
		host_free(host);
		return NULL;
	}
	if (read_facts(host, error))
		return host;
	host_free(host);
	return NULL;
}

struct host *host_open_guarded(struct guard *guard, enum guard_side side,
			       const struct remote_shell *shell, const struct host_address *address,
			       GError **error)
{
	g_autofree char *uri = guard_attach(guard, side, shell, address, error);
	if (!uri) {
		error_classify(error, WATARI_ERROR_REFUSED, NULL);
		return NULL;
	}
	g_autofree char *reason = NULL;
	g_autoptr(GError) failure = NULL;
	struct host *host = host_open(address, uri, &failure);
	if (host)
		return host;
	if (!guard_is_broken(guard, side, &reason) || !*reason) {
		g_propagate_error(error, g_steal_pointer(&failure));
		return NULL;
	}
	g_autofree char *next = address->shell ? advise_behind_ssh(shell, address, reason) : NULL;
	error_set(error, WATARI_ERROR_REFUSED, next, _("cannot reach libvirt at %s: %s"),
		  address->text, reason);
	return NULL;
}

void host_free(struct host *host)
{
	if (!host)
		return;
	if (host->connection)
		virConnectClose(host->connection);
	g_free(host->name);
	g_free(host->uuid);
	g_free(host->machine);
	g_free(host->instance);
	g_free(host->security_model);
	g_free(host->capabilities);
	g_free(host);
}

/* ---- where a VM is ---- */

static const char *const state_names[] = {
	[HOST_VM_ABSENT] = "absent", [HOST_VM_OFF] = "off",           [HOST_VM_RUNNING] = "running",
	[HOST_VM_PAUSED] = "paused", [HOST_VM_INCOMING] = "incoming",
};
_Static_assert(G_N_ELEMENTS(state_names) == HOST_VM_INCOMING + 1, "one name for each state");

const char *host_vm_state_name(enum host_vm_state state)
{
	return state_names[state];
}

static const char *const paused_names[] = {
	[VIR_DOMAIN_PAUSED_USER] = "user",
	[VIR_DOMAIN_PAUSED_MIGRATION] = "migration",
	[VIR_DOMAIN_PAUSED_SAVE] = "save",
	[VIR_DOMAIN_PAUSED_DUMP] = "dump",
	[VIR_DOMAIN_PAUSED_IOERROR] = "io-error",
	[VIR_DOMAIN_PAUSED_WATCHDOG] = "watchdog",
	[VIR_DOMAIN_PAUSED_FROM_SNAPSHOT] = "from-snapshot",
	[VIR_DOMAIN_PAUSED_SHUTTING_DOWN] = "shutting-down",
	[VIR_DOMAIN_PAUSED_SNAPSHOT] = "snapshot",
	[VIR_DOMAIN_PAUSED_CRASHED] = "crashed",
	[VIR_DOMAIN_PAUSED_STARTING_UP] = "starting-up",
	[VIR_DOMAIN_PAUSED_POSTCOPY] = "post-copy",
	[VIR_DOMAIN_PAUSED_POSTCOPY_FAILED] = "post-copy-failed",
};

static const char *const running_names[] = {
	[VIR_DOMAIN_RUNNING_BOOTED] = "booted",
	[VIR_DOMAIN_RUNNING_MIGRATED] = "migrated",
	[VIR_DOMAIN_RUNNING_RESTORED] = "restored",
	[VIR_DOMAIN_RUNNING_FROM_SNAPSHOT] = "from-snapshot",
	[VIR_DOMAIN_RUNNING_UNPAUSED] = "unpaused",
	[VIR_DOMAIN_RUNNING_MIGRATION_CANCELED] = "migration-canceled",
	[VIR_DOMAIN_RUNNING_SAVE_CANCELED] = "save-canceled",
	[VIR_DOMAIN_RUNNING_WAKEUP] = "wakeup",
	[VIR_DOMAIN_RUNNING_CRASHED] = "crashed",
	[VIR_DOMAIN_RUNNING_POSTCOPY] = "post-copy",
	[VIR_DOMAIN_RUNNING_POSTCOPY_FAILED] = "post-copy-failed",
};

static const char *const off_names[] = {
	[VIR_DOMAIN_SHUTOFF_SHUTDOWN] = "shutdown",
	[VIR_DOMAIN_SHUTOFF_DESTROYED] = "destroyed",
	[VIR_DOMAIN_SHUTOFF_CRASHED] = "crashed",
	[VIR_DOMAIN_SHUTOFF_MIGRATED] = "migrated",
	[VIR_DOMAIN_SHUTOFF_SAVED] = "saved",
	[VIR_DOMAIN_SHUTOFF_FAILED] = "failed",
	[VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT] = "from-snapshot",
	[VIR_DOMAIN_SHUTOFF_DAEMON] = "daemon",
};

static const struct {
	const char *const *names;
	size_t count;
} reason_names[] = {
	[HOST_VM_ABSENT] = { NULL, 0 },
	[HOST_VM_OFF] = { off_names, G_N_ELEMENTS(off_names) },
	[HOST_VM_RUNNING] = { running_names, G_N_ELEMENTS(running_names) },
	[HOST_VM_PAUSED] = { paused_names, G_N_ELEMENTS(paused_names) },
	[HOST_VM_INCOMING] = { paused_names, G_N_ELEMENTS(paused_names) },
};

const char *host_vm_reason_name(const struct host_vm *vm)
{
	const char *name = NULL;
	if (vm->reason >= 0 && (size_t) vm->reason < reason_names[vm->state].count)
		name = reason_names[vm->state].names[vm->reason];
	return name ? name : "unknown";
}

/* libvirt's states in ours. A guest that sleeps (pm-suspended) or is on its way down still has a
 * QEMU with its memory: paused, for us. */
static enum host_vm_state translate(int state)
{
	switch (state) {
	case VIR_DOMAIN_RUNNING:
	case VIR_DOMAIN_BLOCKED:
		return HOST_VM_RUNNING;
	case VIR_DOMAIN_SHUTOFF:
	case VIR_DOMAIN_NOSTATE:
		return HOST_VM_OFF;
	case VIR_DOMAIN_CRASHED:
	default:
		return HOST_VM_PAUSED;
	}
}

enum work { WORK_NONE, WORK_SOME, WORK_INCOMING };

/* What libvirt is doing with it. The control state tells only of a call that is being made this
 * moment, not of a migration; the job statistics do, and libvirt refuses them for exactly those
 * VMs that a migration is coming into, without asking QEMU. When the monitor does not answer at
 * all, something is at work. */
static enum work ask_work(virDomainPtr domain, uint64_t *bytes)
{
	virDomainControlInfo control;
	virDomainJobInfo job;
	if (virDomainGetControlInfo(domain, &control, 0) == 0 &&
	    control.state == VIR_DOMAIN_CONTROL_OCCUPIED)
		return WORK_SOME;
	*bytes = 0;
	if (virDomainGetJobInfo(domain, &job) == 0) {
		*bytes = job.dataProcessed;
		return job.type == VIR_DOMAIN_JOB_BOUNDED || job.type == VIR_DOMAIN_JOB_UNBOUNDED
			       ? WORK_SOME
			       : WORK_NONE;
	}
	virErrorPtr last = virGetLastError();
	int code = last ? last->code : 0;
	return code == VIR_ERR_OPERATION_TIMEOUT       ? WORK_SOME
	       : code == VIR_ERR_OPERATION_UNSUPPORTED ? WORK_INCOMING
						       : WORK_NONE;
}

static bool describe_libvirt_error(virDomainPtr domain, struct host_vm *vm)
{
	int state = 0;
	if (virDomainGetState(domain, &state, &vm->reason, 0) < 0)
		return false;
	vm->state = translate(state);
	vm->persistent = virDomainIsPersistent(domain) == 1;
	if (vm->state == HOST_VM_OFF)
		return true;
	enum work work = ask_work(domain, &vm->job_bytes);
	vm->busy = work != WORK_NONE;
	if (work == WORK_INCOMING && vm->state == HOST_VM_PAUSED)
		vm->state = HOST_VM_INCOMING;
	return true;
}

bool host_vm_ask(struct host *host, const char *uuid, struct host_vm *vm, GError **error)
{
	*vm = (struct host_vm){ .state = HOST_VM_ABSENT };
	virDomainPtr domain = virDomainLookupByUUIDString(host->connection, uuid);
	bool known = domain && describe_libvirt_error(domain, vm);
	if (domain)
		virDomainFree(domain);
	if (known)
		return true;
	virErrorPtr last = virGetLastError();
	if (last && last->code == VIR_ERR_NO_DOMAIN) {
		*vm = (struct host_vm){ .state = HOST_VM_ABSENT };
		return true;
	}
	return host_error(error, WATARI_ERROR_INTERNAL, NULL, host->address->text);
}
