/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of a running VM's definition where it differs from what runs: a disk, network or device that
 * only the definition has is needed when the VM is started next, and that will be at the destination.
 * Nothing of it hinders the move, so what the checks refuse there is a warning. */
#include "host/belongings/belongings.h"

#include "base/i18n.h"

#include <string.h>

/* Those that look at what the description names. */
static void (*const definition_checks[])(struct check_context *) = {
	check_disks,   check_secrets, check_host_devices, check_filesystems, check_other_devices,
	check_sockets, check_things,  check_offered,      check_networks,    belonging_check_files,
};

static bool is_source_of(struct xml *vm, const char *path)
{
	g_autoptr(GPtrArray) found =
		xml_find(vm, NULL, "devices/disk/source/@file | devices/disk/source/@dev");
	for (guint i = 0; i < found->len; i++) {
		g_autofree char *other = xml_string(vm, found->pdata[i], ".");
		if (g_strcmp0(other, path) == 0)
			return true;
	}
	return false;
}

/* What the running VM has as well is judged, and moved, with it. */
static void drop_known_disks(struct xml *definition, struct xml *vm)
{
	g_autoptr(GPtrArray) disks = xml_find(definition, NULL, "devices/disk");
	for (guint i = 0; i < disks->len; i++) {
		g_autofree char *path =
			xml_string(definition, disks->pdata[i], "source/@file | source/@dev");
		if (!path || !is_source_of(vm, path))
			continue;
		xmlUnlinkNode(disks->pdata[i]);
		xmlFreeNode(disks->pdata[i]);
	}
}

static bool is_known_element(const GPtrArray *findings, const struct check_finding *finding)
{
	for (guint i = 0; i < findings->len; i++) {
		const struct check_finding *other = findings->pdata[i];
		if (other->result != CHECK_PASS && other->check == finding->check &&
		    g_strcmp0(other->what, finding->what) == 0)
			return true;
	}
	return false;
}

static void add_findings(struct check_context *context, const GPtrArray *findings)
{
	guint known = context->findings->len;
	for (guint i = 0; i < findings->len; i++) {
		const struct check_finding *finding = findings->pdata[i];
		if (finding->result != CHECK_PASS && !is_known_element(context->findings, finding))
			check_add(context->findings, finding->check, CHECK_WARN, finding->next,
				  _("when it is started next: %s"), finding->what);
	}
	if (context->findings->len == known)
		check_add(context->findings, "definition", CHECK_PASS, NULL, NULL);
}

static void check_defined(struct check_context *context, struct xml *definition)
{
	struct check_options options = *context->options;
	struct check_context defined = *context;
	/* it does not run, and of what the running VM does not have only the disks are copied */
	defined.defined = true;
	options.offline = options.disks_stay = true;
	defined.options = &options;
	defined.vm = definition;
	defined.findings = check_new_findings();
	drop_known_disks(definition, context->vm);
	for (size_t i = 0; i < G_N_ELEMENTS(definition_checks); i++)
		definition_checks[i](&defined);
	/* it may have been asked for meanwhile */
	context->destination_domain = defined.destination_domain;
	add_findings(context, defined.findings);
	g_ptr_array_unref(defined.findings);
}

void belonging_check_definition(struct check_context *context)
{
	bool travels =
		!context->options->flags || context->options->flags & VIR_MIGRATE_PERSIST_DEST;
	if (!travels || virDomainIsPersistent(context->domain) != 1)
		return;
	struct xml *definition = check_read_vm(context, VIR_DOMAIN_XML_INACTIVE, NULL);
	if (definition)
		check_defined(context, definition);
	else
		check_add(context->findings, "definition", CHECK_WARN, NULL,
			  _("the definition of “%s” could not be read, so what it needs when it is "
			    "started next is not known"),
			  context->name);
	xml_free(definition);
}
