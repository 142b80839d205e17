/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of what the two hosts' libvirts differ in: versions, lock managers. */
#include "host/checks/checks.h"

#include "base/i18n.h"

#include <string.h>

/* ---- versions ---- */

static void check_libvirt_version(struct check_context *context)
{
	const struct host *here = context->source, *there = context->destination;
	g_autofree char *old = host_format_version(there->libvirt_version);
	g_autofree char *new = host_format_version(here->libvirt_version);
	g_autofree char *next = g_strdup_printf(
		_("Update libvirt at %s if you can; what it refuses leaves the VM at %s."),
		there->name, here->name);
	if (there->libvirt_version < here->libvirt_version)
		check_add(context->findings, "libvirt-version", CHECK_WARN, next,
			  _("libvirt at %s is %s, older than %s at %s: it may not know all that "
			    "“%s” is described with"),
			  there->name, old, new, here->name, context->name);
	else
		check_add(context->findings, "libvirt-version", CHECK_PASS, NULL, NULL);
}

/* QEMU promises its machine types to newer versions; to an older one that has the type it works as
 * a rule, and where it does not the incoming QEMU says so. */
static void check_qemu_version(struct check_context *context)
{
	const struct host *here = context->source, *there = context->destination;
	g_autofree char *old = host_format_version(there->qemu_version);
	g_autofree char *new = host_format_version(here->qemu_version);
	g_autofree char *next = g_strdup_printf(
		_("Update QEMU at %s if you can; a state that it does not understand leaves the "
		  "VM at %s."),
		there->name, here->name);
	if (there->qemu_version < here->qemu_version)
		check_add(
			context->findings, "qemu-version", CHECK_WARN, next,
			_("QEMU at %s is %s, older than %s at %s: it may not understand the state "
			  "of every device of “%s”"),
			there->name, old, new, here->name, context->name);
	else
		check_add(context->findings, "qemu-version", CHECK_PASS, NULL, NULL);
}

void check_versions(struct check_context *context)
{
	check_libvirt_version(context);
	if (!context->options->offline)
		check_qemu_version(context);
}

/* ---- lock managers ---- */

/* Nothing else of that file leaves the host: it may have passwords. */
static const char lock_script[] =
	"f=/etc/libvirt/qemu.conf; [ -e $f ] || { echo none; exit 0; }; [ -r $f ] || exit 0; "
	"sed -n 's/^[ \\t]*lock_manager[ \\t]*=[ \\t]*[\"'\\'']\\([a-z]*\\)[\"'\\''].*/\\1/p' $f; "
	"echo none";

/* "none", "lockd" or "sanlock"; NULL when it could not be read (only root may). */
static char *ask_lock_manager(struct check_context *context, const struct host *host)
{
	const char *const argv[] = { "sh", "-c", lock_script, NULL };
	char *output = NULL;
	if (!remote_run(context->options->shell, host->address, argv, 20000, &output, NULL, NULL))
		return NULL;
	g_autofree char *said = g_strndup(output, strcspn(output, "\n"));
	g_free(output);
	return *said ? g_strdup(strcmp(said, "nop") ? said : "none") : NULL;
}

void check_judge_locks(struct check_context *context, const char *here, const char *there)
{
	bool differ = here && there && strcmp(here, there) != 0;
	/* a lease of sanlock's has a state that libvirt carries along, and misses if there is none */
	bool strict = differ && (!strcmp(here, "sanlock") || !strcmp(there, "sanlock"));
	const char *next =
		_("Set the same lock_manager in /etc/libvirt/qemu.conf at both hosts, and "
		  "restart libvirt.");
	if (strict)
		check_add(
			context->findings, "locks", CHECK_REFUSE, next,
			_("libvirt's lock managers differ (at %s: %s, at %s: %s), and libvirt does "
			  "not hand the locks of disks over between them"),
			context->source->name, here, context->destination->name, there);
	else if (differ)
		check_add(context->findings, "locks", CHECK_WARN, next,
			  _("libvirt's lock managers differ (at %s: %s, at %s: %s): a second VM on "
			    "the same disk may go unnoticed"),
			  context->source->name, here, context->destination->name, there);
	else
		check_add(context->findings, "locks", CHECK_PASS, NULL, NULL);
}

/* Only disks are locked. */
void check_locks(struct check_context *context)
{
	bool disks = xml_has(context->vm, NULL, "devices/disk/source | devices/lease");
	g_autofree char *here = disks ? ask_lock_manager(context, context->source) : NULL;
	g_autofree char *there = disks ? ask_lock_manager(context, context->destination) : NULL;
	check_judge_locks(context, here, there);
}
