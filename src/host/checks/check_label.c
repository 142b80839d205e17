/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of security labels: what confines the VM here must be there as well. */
#include "host/checks/checks.h"

#include "base/i18n.h"

#include <string.h>

/* A running VM's description tells the labels that it got here, and libvirt at the destination
 * refuses one of a driver that it does not use. Only what it made up itself for its own file
 * permissions ("dac") and for no driver at all ("none") stays at home. */
static bool travels(const char *model, const char *type)
{
	return *model && strcmp(model, "none") != 0 &&
	       (strcmp(model, "dac") != 0 || g_strcmp0(type, "static") == 0);
}

static bool has_model(struct xml *capabilities, const char *model)
{
	g_autofree char *path = g_strdup_printf("host/secmodel[model='%s']", model);
	return !strchr(model, '\'') && xml_has(capabilities, NULL, path);
}

static void check_one_label(struct check_context *context, xmlNodePtr node, GHashTable *done)
{
	g_autofree char *model = xml_string(context->vm, node, "@model");
	g_autofree char *type = xml_string(context->vm, node, "@type");
	g_autofree char *label = xml_string(context->vm, node, "label");
	const char *there = context->destination->name;
	bool fixed = g_strcmp0(type, "static") == 0;
	if (!model || !travels(model, type) || !g_hash_table_add(done, g_strdup(model)))
		return;
	if (!has_model(context->destination_capabilities, model))
		check_add(
			context->findings, "security", CHECK_REFUSE,
			fixed ? _("Use a dynamic label, or turn that security driver on there "
				  "(security_driver in /etc/libvirt/qemu.conf).")
			      : _("Turn that security driver on there (security_driver in "
				  "/etc/libvirt/qemu.conf), or off here; a VM gets its label when "
				  "it is started."),
			_("“%s” is confined with %s, which libvirt at %s does not use"),
			context->name, model, there);
	else if (fixed && strcmp(model, "dac") != 0)
		check_add(context->findings, "security", CHECK_WARN,
			  _("See that it is defined there, and that no other VM there has it."),
			  _("“%s” has a fixed %s label (%s), which must mean the same at %s"),
			  context->name, model, label ? label : "?", there);
}

/* Confined there and not here: what the VM uses here may be out of bounds there. */
static void compare_models(struct check_context *context)
{
	const char *here = context->source->security_model;
	const char *there = context->destination->security_model;
	if (!here && there)
		check_add(
			context->findings, "security", CHECK_WARN,
			_("If QEMU is refused a file there, see “DENIED” in journalctl -k, or "
			  "ausearch -m avc -ts recent."),
			_("libvirt at %s confines VMs with %s, and at %s it does not: QEMU may be "
			  "refused files there that “%s” has here"),
			context->destination->name, there, context->source->name, context->name);
}

void check_labels(struct check_context *context)
{
	unsigned before = context->findings->len;
	g_autoptr(GPtrArray) nodes =
		xml_find(context->vm, NULL,
			 "seclabel | devices/disk/source/seclabel | devices/*/source/seclabel");
	g_autoptr(GHashTable) done = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	for (unsigned i = 0; i < nodes->len; i++)
		check_one_label(context, nodes->pdata[i], done);
	compare_models(context);
	if (context->findings->len == before)
		check_add(context->findings, "security", CHECK_PASS, NULL, NULL);
}
