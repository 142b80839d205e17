/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of devices: those bound to their host, and those that the destination cannot make. */
#include "host/checks/checks.h"

#include "base/i18n.h"

#include <libvirt/virterror.h>
#include <string.h>

/* What is bound to its host, by where it stands in the VM's description. A network card that is
 * part of a failover pair (<teaming type='transient'>) is unplugged by QEMU for the move. What
 * can be unplugged by hand is told with the command for it. */
static const struct {
	const char *check, *path, *what;
	const char *next; /* NULL: unplug it */
} bound_devices[] = {
	{ "hostdev", "devices/hostdev[@type='pci'][not(teaming/@type='transient')]",
	  N_("a PCI device of the host (passthrough)"), NULL },
	{ "hostdev", "devices/interface[@type='hostdev'][not(teaming/@type='transient')]",
	  N_("a network card of the host (passthrough)"),
	  N_("Detach it first (virsh detach-interface), or pair it with a virtual one "
	     "(<teaming>).") },
	{ "hostdev", "devices/hostdev[@type='usb']", N_("a USB device of the host (passthrough)"),
	  NULL },
	{ "hostdev", "devices/hostdev[@type='mdev']",
	  N_("a mediated device of the host (vfio-mdev)"), NULL },
	{ "hostdev", "devices/hostdev[@type='scsi' or @type='scsi_host']",
	  N_("a SCSI device of the host (passthrough)"), NULL },
	{ "hostdev", "devices/hostdev[@mode='capabilities']", N_("a device of the host"), NULL },
	{ "filesystem", "devices/filesystem[driver/@type='virtiofs']",
	  N_("a directory of the host (virtiofs)"),
	  N_("Unmount it in the guest and detach it: virsh detach-device.") },
	{ "filesystem", "devices/filesystem[not(driver/@type='virtiofs')]",
	  N_("a directory of the host (9p)"),
	  N_("Unmount it in the guest and move the VM while it is off (--offline), or use network "
	     "storage.") },
	{ "device", "devices/interface[@type='vdpa']", N_("a vDPA network device"), NULL },
	{ "device", "devices/shmem[not(@role='master')]",
	  N_("memory shared with other processes (shmem)"),
	  N_("Detach it first, or give it the role “master”.") },
	{ "device", "devices/tpm/backend[@type='passthrough']", N_("the host's own TPM"),
	  N_("Use an emulated TPM; it takes effect when the VM is started again.") },
	{ "device", "devices/input[@type='passthrough' or @type='evdev']",
	  N_("an input device of the host"), NULL },
	{ "device", "devices/smartcard[@mode='host' or @mode='host-certificates']",
	  N_("a smartcard of the host"), NULL },
	{ "device", "devices/memory[@model='nvdimm' or @model='virtio-pmem']",
	  N_("memory in a file of the host (nvdimm)"),
	  N_("Move the VM while it is off (--offline).") },
	{ "device", "launchSecurity", N_("memory encrypted by the host's processor (SEV)"),
	  N_("Shut it down and move it while it is off (--offline).") },
};

/* libvirt's own name of a device ("hostdev0") tells which one, and unplugs it. */
static void refuse_bound(struct check_context *context, unsigned index, xmlNodePtr node)
{
	g_autofree char *alias = xml_string(context->vm, node, "ancestor-or-self::*/alias/@name");
	g_autofree char *unplug =
		alias ? g_strdup_printf(_("Detach it first: virsh detach-device-alias %s %s "
					  "--live."),
					context->name, alias)
		      : g_strdup(_("Detach it first: virsh detach-device."));
	const char *next = bound_devices[index].next ? _(bound_devices[index].next) : unplug;
	if (alias)
		check_add(context->findings, bound_devices[index].check, CHECK_REFUSE, next,
			  _("“%s” uses %s, which does not move with it: %s"), context->name,
			  _(bound_devices[index].what), alias);
	else
		check_add(context->findings, bound_devices[index].check, CHECK_REFUSE, next,
			  _("“%s” uses %s, which does not move with it"), context->name,
			  _(bound_devices[index].what));
}

static void check_bound(struct check_context *context, const char *check)
{
	unsigned before = context->findings->len;
	for (unsigned i = 0; i < G_N_ELEMENTS(bound_devices); i++) {
		if (strcmp(bound_devices[i].check, check) != 0)
			continue;
		g_autoptr(GPtrArray) nodes = xml_find(context->vm, NULL, bound_devices[i].path);
		for (unsigned j = 0; j < nodes->len; j++)
			refuse_bound(context, i, nodes->pdata[j]);
	}
	if (context->findings->len == before)
		check_add(context->findings, check, CHECK_PASS, NULL, NULL);
}

void check_host_devices(struct check_context *context)
{
	check_bound(context, "hostdev");
}

void check_filesystems(struct check_context *context)
{
	check_bound(context, "filesystem");
}

void check_other_devices(struct check_context *context)
{
	check_bound(context, "device");
	if (xml_has(context->vm, NULL, "devices/interface[@type='vhostuser']"))
		check_add(
			context->findings, "device", CHECK_WARN,
			_("See that the process that serves it runs there, with its socket at the "
			  "same path."),
			_("“%s” has a vhost-user network card: its other end must be there at %s"),
			context->name, context->destination->name);
}
