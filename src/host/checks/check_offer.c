/* SPDX-License-Identifier: Apache-2.0 */
/* Check of the devices that libvirt and QEMU at the destination say they can make: distributions
 * leave some out (spice, qxl), others need a package (an emulated TPM). */
#include "host/checks/checks.h"

#include "base/i18n.h"

#include <string.h>

#define UPDATE_IT                                                                                \
	N_("Update QEMU there, or take it out of the VM, which takes effect when it is started " \
	   "again.")

/* Where the VM's description says what it has, and where the destination's domain capabilities list
 * what it could have. A list that is not there, as with an older libvirt, says nothing. */
static const struct {
	const char *what, *path, *offer, *next;
} offers[] = {
	{ N_("a display of the kind “%s”"), "devices/graphics/@type",
	  "devices/graphics/enum[@name='type']",
	  N_("Install QEMU's module for it there, or take the display out of the VM; that takes "
	     "effect when it is started again.") },
	{ N_("a video card of the kind “%s”"), "devices/video/model/@type",
	  "devices/video/enum[@name='modelType']",
	  N_("Install QEMU's module for it there, or give the VM another video card (virtio, vga); "
	     "it takes effect when it is started again.") },
	{ N_("a disk on a bus of the kind “%s”"), "devices/disk/target/@bus",
	  "devices/disk/enum[@name='bus']",
	  N_("Put the disk on another bus (virtio, scsi), which takes effect when the VM is "
	     "started "
	     "again.") },
	{ N_("a random number source of the kind “%s”"), "devices/rng/backend/@model",
	  "devices/rng/enum[@name='backendModel']",
	  N_("Detach it first (virsh detach-device), or use “random”.") },
	{ N_("a TPM of the model “%s”"), "devices/tpm/@model", "devices/tpm/enum[@name='model']",
	  N_("Install QEMU's TPM device there, or update QEMU.") },
	{ N_("a TPM with the backend “%s”"), "devices/tpm/backend[@type='emulator']/@type",
	  "devices/tpm/enum[@name='backendModel']",
	  N_("Install swtpm and swtpm-tools there, and restart libvirt.") },
	{ N_("a channel of the kind “%s”"), "devices/channel[@type='spicevmc']/@type",
	  "devices/channel/enum[@name='type']",
	  N_("Install QEMU's module for spice there, or take the channel out of the VM; that takes "
	     "effect when it is started again.") },
	{ N_("a USB redirection of the kind “%s”"), "devices/redirdev/@bus",
	  "devices/redirdev/enum[@name='bus']", N_("Detach it first: virsh detach-device.") },
	{ N_("a network card with the backend “%s”"), "devices/interface/backend/@type",
	  "devices/interface/enum[@name='backendType']",
	  N_("Update libvirt there, or use a bridge.") },
	{ N_("a sound card with the backend “%s”"), "devices/audio/@type",
	  "devices/audio/enum[@name='type']",
	  N_("Install QEMU's module for it there, or give the VM another backend (none), which "
	     "takes effect when it is started again.") },
	{ N_("a crypto device of the model “%s”"), "devices/crypto/@model",
	  "devices/crypto/enum[@name='model']", N_("Detach it first: virsh detach-device.") },
	{ N_("a panic device of the model “%s”"), "devices/panic/@model",
	  "devices/panic/enum[@name='model']", UPDATE_IT },
	{ N_("memory of the kind “%s”"), "memoryBacking/source/@type",
	  "memoryBacking/enum[@name='sourceType']", UPDATE_IT },
	{ N_("memory of the model “%s”"), "devices/memory/@model",
	  "devices/memory/enum[@name='model']", UPDATE_IT },
	{ N_("the Hyper-V feature “%s”"), "features/hyperv/*[@state='on']",
	  "features/hyperv/enum[@name='features']", UPDATE_IT },
};

static bool is_offered(struct xml *capabilities, xmlNodePtr list, const char *value)
{
	g_autoptr(GPtrArray) values = xml_find(capabilities, list, "value");
	bool found = false;
	for (unsigned i = 0; i < values->len && !found; i++) {
		xmlChar *text = xmlNodeGetContent(values->pdata[i]);
		found = strcmp((const char *) text, value) == 0;
		xmlFree(text);
	}
	return found;
}

static void check_one_offer(struct check_context *context, unsigned index)
{
	g_autoptr(GPtrArray) lists =
		xml_find(context->destination_domain, NULL, offers[index].offer);
	g_autoptr(GPtrArray) wanted = xml_find(context->vm, NULL, offers[index].path);
	g_autoptr(GHashTable) done = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	for (unsigned i = 0; lists->len > 0 && i < wanted->len; i++) {
		xmlNodePtr node = wanted->pdata[i];
		/* what is no attribute is called by its name */
		xmlChar *raw = node->type == XML_ELEMENT_NODE ? xmlStrdup(node->name)
							      : xmlNodeGetContent(node);
		const char *value = (const char *) raw;
		if (g_hash_table_add(done, g_strdup(value)) &&
		    !is_offered(context->destination_domain, lists->pdata[0], value)) {
			g_autoptr(GString) what = g_string_new(_(offers[index].what));
			g_string_replace(what, "%s", value, 1);
			check_add(context->findings, "offer", CHECK_REFUSE, _(offers[index].next),
				  _("“%s” has %s, which libvirt and QEMU at %s do not offer"),
				  context->name, what->str, context->destination->name);
		}
		xmlFree(raw);
	}
}

void check_offered(struct check_context *context)
{
	unsigned before = context->findings->len;
	/* where the machine was refused there is nothing to compare with */
	for (unsigned i = 0; context->destination_domain && i < G_N_ELEMENTS(offers); i++)
		check_one_offer(context, i);
	if (context->findings->len == before)
		check_add(context->findings, "offer", CHECK_PASS, NULL, NULL);
}
