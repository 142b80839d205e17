/* SPDX-License-Identifier: Apache-2.0 */
/* Can the destination's QEMU run the VM before all of its memory is there? Asked only where post-copy
 * is permitted: libvirt fixes that at the start of a migration. */
#include "base/i18n.h"
#include "host/checks/checks.h"

#include <string.h>

#define ASK_MS 20000
#define DEVICE_SINCE 8001000     /* QEMU 8.1 opens /dev/userfaultfd where it may */
#define RECOVERY_SINCE 8005000UL /* libvirt 8.5 */

/* Says "yes" where the kernel lets anybody have a userfaultfd; "device" where those may who may write to
 * the file; else "no". Kernels without the setting let anybody. */
static const char script[] = "s=/proc/sys/vm/unprivileged_userfaultfd; "
			     "if test ! -e $s || test \"$(cat $s)\" = 1; then echo yes; "
			     "elif test -c /dev/userfaultfd; then echo device; else echo no; fi";

static char *ask_kernel(struct check_context *context)
{
	const char *const words[] = { "sh", "-c", script, NULL };
	char *answer = NULL;
	if (!remote_run(context->options->shell, context->destination->address, words, ASK_MS,
			&answer, NULL, NULL))
		return NULL;
	return g_strstrip(answer);
}

static void check_userfault(struct check_context *context)
{
	const struct host *there = context->destination;
	g_autofree char *answer = there->qemu_uid == 0 ? g_strdup("yes") : ask_kernel(context);
	const char *next =
		_("Set it there with “sysctl vm.unprivileged_userfaultfd=1” (and keep it in "
		  "/etc/sysctl.d), or move without --allow-postcopy.");
	if (!answer)
		check_add(
			context->findings, "postcopy", CHECK_WARN, next,
			_("whether %s permits post-copy (vm.unprivileged_userfaultfd) could not be "
			  "asked"),
			there->name);
	else if (g_str_equal(answer, "device") && there->qemu_version >= DEVICE_SINCE)
		check_add(context->findings, "postcopy", CHECK_WARN, next,
			  _("%s permits post-copy only to those who may write to /dev/userfaultfd; "
			    "QEMU runs there as user %d"),
			  there->name, there->qemu_uid);
	else if (!g_str_equal(answer, "yes"))
		check_add(context->findings, "postcopy", CHECK_REFUSE, next,
			  _("%s does not permit post-copy to QEMU, which runs there as user %d "
			    "(vm.unprivileged_userfaultfd is 0)"),
			  there->name, there->qemu_uid);
}

static void refuse_postcopy(struct check_context *context, const char *what)
{
	check_add(context->findings, "postcopy", CHECK_REFUSE,
		  _("Move without --allow-postcopy, or change that first."),
		  _("“%s” cannot be moved by post-copy: %s"), context->name, what);
}

/* What shares the guest's memory must take part in it, and only memory of the kernel's own can be
 * filled page by page. */
static void check_memory_kind(struct check_context *context)
{
	if (xml_has(context->vm, NULL, "devices/interface[@type='vhostuser']") ||
	    xml_has(context->vm, NULL, "devices/disk[@type='vhostuser']"))
		check_add(context->findings, "postcopy", CHECK_WARN, NULL,
			  _("“%s” has vhost-user devices, which must know post-copy too"),
			  context->name);
	if (xml_has(context->vm, NULL, "memoryBacking/source[@type='file']") &&
	    !xml_has(context->vm, NULL, "memoryBacking/hugepages"))
		refuse_postcopy(context, _("its memory is a file on a disk"));
	if (xml_has(context->vm, NULL, "devices/memory[@model='nvdimm']"))
		refuse_postcopy(context, _("it has an NVDIMM"));
	if (xml_has(context->vm, NULL, "memoryBacking/hugepages"))
		check_add(context->findings, "postcopy", CHECK_WARN, NULL,
			  _("“%s” has huge pages: in post-copy it waits for a whole one each time"),
			  context->name);
}

static void check_recovery(struct check_context *context)
{
	const struct host *hosts[] = { context->source, context->destination };
	for (size_t i = 0; i < G_N_ELEMENTS(hosts); i++) {
		if (hosts[i]->libvirt_version >= RECOVERY_SINCE)
			continue;
		g_autofree char *version = host_format_version(hosts[i]->libvirt_version);
		check_add(context->findings, "postcopy", CHECK_REFUSE,
			  _("Move without --allow-postcopy, or update libvirt there."),
			  _("libvirt %s at %s cannot recover a post-copy that broke (8.5 can)"),
			  version, hosts[i]->name);
	}
}

void check_postcopy(struct check_context *context)
{
	unsigned before = context->findings->len;
	if (!(context->options->flags & VIR_MIGRATE_POSTCOPY))
		return;
	check_userfault(context);
	check_memory_kind(context);
	check_recovery(context);
	if (context->findings->len == before)
		check_add(context->findings, "postcopy", CHECK_PASS, NULL, NULL);
}
