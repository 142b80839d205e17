/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of devices, networks and security labels. */
#include "host/checks.h"

#include "base/i18n.h"

#include <libvirt/virterror.h>
#include <string.h>

/* What is bound to its host, by where it stands in the VM's description. A network card that is
 * part of a failover pair (<teaming type='transient'>) is unplugged by QEMU for the journey. */
static const struct {
	const char *check, *path, *what, *next;
} bound_devices[] = {
	{ "hostdev", "devices/hostdev[@type='pci'][not(teaming/@type='transient')]",
	  N_("a PCI device of the host (passthrough)"),
	  N_("Detach it first: virsh detach-device. A network card can be paired with a virtual "
	     "one (<teaming>).") },
	{ "hostdev", "devices/interface[@type='hostdev'][not(teaming/@type='transient')]",
	  N_("a network card of the host (passthrough)"),
	  N_("Detach it first (virsh detach-interface), or pair it with a virtual one "
	     "(<teaming>).") },
	{ "hostdev", "devices/hostdev[@type='usb']", N_("a USB device of the host (passthrough)"),
	  N_("Detach it first: virsh detach-device.") },
	{ "hostdev", "devices/hostdev[@type='mdev']",
	  N_("a mediated device of the host (vfio-mdev)"),
	  N_("Detach it first, or move the VM while it is off.") },
	{ "hostdev", "devices/hostdev[@type='scsi' or @type='scsi_host']",
	  N_("a SCSI device of the host (passthrough)"),
	  N_("Detach it first: virsh detach-device.") },
	{ "hostdev", "devices/hostdev[@mode='capabilities']", N_("a device of the host"),
	  N_("Detach it first: virsh detach-device.") },
	{ "filesystem", "devices/filesystem[driver/@type='virtiofs']",
	  N_("a directory of the host (virtiofs), whose state cannot be carried"),
	  N_("Unmount it in the guest and detach it: virsh detach-device.") },
	{ "filesystem", "devices/filesystem[not(driver/@type='virtiofs')]",
	  N_("a directory of the host (9p), whose state cannot be carried"),
	  N_("Unmount it in the guest and move the VM while it is off, or use network storage.") },
	{ "device", "devices/interface[@type='vdpa']", N_("a vDPA network device"),
	  N_("Detach it first: virsh detach-interface.") },
	{ "device", "devices/shmem[not(@role='master')]",
	  N_("memory shared with other processes (shmem)"),
	  N_("Detach it first, or give it the role “master”.") },
	{ "device", "devices/tpm/backend[@type='passthrough']", N_("the host's own TPM"),
	  N_("Use an emulated TPM; it takes effect when the VM is started again.") },
	{ "device", "devices/input[@type='passthrough' or @type='evdev']",
	  N_("an input device of the host"), N_("Detach it first: virsh detach-device.") },
	{ "device", "devices/smartcard[@mode='host' or @mode='host-certificates']",
	  N_("a smartcard of the host"), N_("Detach it first: virsh detach-device.") },
	{ "device", "devices/memory[@model='nvdimm' or @model='virtio-pmem']",
	  N_("memory in a file of the host (nvdimm)"), N_("Move the VM while it is off.") },
	{ "device", "launchSecurity", N_("memory encrypted by the host's processor (SEV)"),
	  N_("Such VMs cannot be moved while they run.") },
};

static void check_bound(struct check_context *context, const char *check)
{
	unsigned before = context->findings->len;
	for (unsigned i = 0; i < G_N_ELEMENTS(bound_devices); i++) {
		if (strcmp(bound_devices[i].check, check) != 0)
			continue;
		if (xml_has(context->vm, NULL, bound_devices[i].path))
			check_add(context->findings, check, CHECK_REFUSE, _(bound_devices[i].next),
				  _("“%s” uses %s"), context->name, _(bound_devices[i].what));
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

/* A display that listens on an address of the source host cannot listen there at the destination.
 */
static void check_graphics(struct check_context *context)
{
	g_autoptr(GPtrArray) listeners =
		xml_find(context->vm, NULL, "devices/graphics/listen[@type='address']/@address");
	for (unsigned i = 0; i < listeners->len; i++) {
		xmlChar *raw = xmlNodeGetContent(listeners->pdata[i]);
		const char *address = (const char *) raw;
		if (*address && !g_str_has_prefix(address, "127.") && strcmp(address, "0.0.0.0") &&
		    strcmp(address, "::") && strcmp(address, "::1"))
			check_add(context->findings, "graphics", CHECK_WARN,
				  _("Let it listen on 0.0.0.0 or 127.0.0.1 if the migration is "
				    "refused for that."),
				  _("the display of “%s” listens on %s, which %s may not have"),
				  context->name, address, context->destination->name);
		xmlFree(raw);
	}
}

void check_other_devices(struct check_context *context)
{
	check_bound(context, "device");
	check_graphics(context);
	if (xml_has(context->vm, NULL, "devices/interface[@type='vhostuser']"))
		check_add(
			context->findings, "device", CHECK_WARN, NULL,
			_("“%s” has a vhost-user network card: its other end must be there at %s"),
			context->name, context->destination->name);
}

/* ---- networks ----
 * A running VM's interface names the network it came from and the bridge it got there; the
 * destination looks for the network and may use another bridge. */

static void check_one_network(struct check_context *context, const char *name)
{
	virNetworkPtr network = virNetworkLookupByName(context->destination->connection, name);
	bool active = network && virNetworkIsActive(network) == 1;
	g_autofree char *check = g_strdup_printf("network:%s", name);
	g_autofree char *start = g_strdup_printf(_("Start it there: virsh net-start %s."), name);
	if (active)
		check_add(context->findings, check, CHECK_PASS, NULL, NULL);
	else if (network)
		check_add(context->findings, check, CHECK_REFUSE, start,
			  _("the network “%s”, which “%s” uses, is not started at %s"), name,
			  context->name, context->destination->name);
	else
		check_add(context->findings, check, CHECK_REFUSE,
			  _("Define one of the same name there: virsh net-define."),
			  _("%s has no network “%s”, which “%s” uses"), context->destination->name,
			  name, context->name);
	if (network)
		virNetworkFree(network);
}

static GPtrArray *list_strings(struct xml *xml, const char *path)
{
	GPtrArray *texts = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GPtrArray) nodes = xml_find(xml, NULL, path);
	for (unsigned i = 0; i < nodes->len; i++) {
		xmlChar *text = xmlNodeGetContent(nodes->pdata[i]);
		if (!g_ptr_array_find_with_equal_func(texts, text, g_str_equal, NULL))
			g_ptr_array_add(texts, g_strdup((const char *) text));
		xmlFree(text);
	}
	return texts;
}

/* Bridges and cards by name: libvirt cannot be relied on to list them, so the kernel is asked. */
static void check_interfaces(struct check_context *context)
{
	g_autoptr(GPtrArray) names = list_strings(
		context->vm, "devices/interface[@type='bridge']/source[not(@network)]/@bridge | "
			     "devices/interface[@type='direct']/source[not(@network)]/@dev");
	if (names->len == 0)
		return;
	g_auto(GStrv) missing = check_missing_there(context, "-d", "/sys/class/net/", names);
	if (!missing) {
		check_add(context->findings, "network", CHECK_WARN, NULL,
			  _("whether %s has the bridges of “%s” could not be asked over the shell"),
			  context->destination->name, context->name);
		return;
	}
	for (unsigned i = 0; i < names->len; i++) {
		const char *name = names->pdata[i];
		g_autofree char *check = g_strdup_printf("network:%s", name);
		if (g_strv_contains((const char *const *) missing, name))
			check_add(context->findings, check, CHECK_REFUSE,
				  _("Set up a bridge or card of that name there."),
				  _("%s has no bridge or network card “%s”, which “%s” uses"),
				  context->destination->name, name, context->name);
		else
			check_add(context->findings, check, CHECK_PASS, NULL, NULL);
	}
}

void check_networks(struct check_context *context)
{
	g_autoptr(GPtrArray) names = list_strings(context->vm, "devices/interface/source/@network");
	for (unsigned i = 0; i < names->len; i++)
		check_one_network(context, names->pdata[i]);
	check_interfaces(context);
}

/* ---- security labels ---- */

void check_labels(struct check_context *context)
{
	g_autoptr(GPtrArray) models = list_strings(context->vm, "seclabel[@type='static']/@model");
	unsigned before = context->findings->len;
	for (unsigned i = 0; i < models->len; i++) {
		const char *model = models->pdata[i];
		g_autofree char *path = g_strdup_printf("host/secmodel[model='%s']", model);
		if (strchr(model, '\'') || xml_has(context->destination_capabilities, NULL, path))
			continue;
		check_add(context->findings, "security", CHECK_REFUSE,
			  _("Use a dynamic label, or turn that security driver on there "
			    "(qemu.conf)."),
			  _("“%s” has a fixed %s label, and libvirt at %s does not use %s"),
			  context->name, model, context->destination->name, model);
	}
	if (context->findings->len == before)
		check_add(context->findings, "security", CHECK_PASS, NULL, NULL);
}
