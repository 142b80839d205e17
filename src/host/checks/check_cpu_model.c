/* SPDX-License-Identifier: Apache-2.0 */
/* A CPU model that would do: when a VM's CPU was refused, the next step names one that both hosts
 * have. */
#include "host/checks/checks.h"

#include "base/i18n.h"

#include <string.h>

/* More exceptions than this nobody wants to type. */
#define EXCEPTIONS_MAX 8

struct xml *check_ask_domain(struct host *host, struct check_context *context, const char *emulator,
			     const char *virt_type)
{
	char *text = virConnectGetDomainCapabilities(host->connection, emulator, context->arch,
						     context->machine, virt_type, 0);
	struct xml *xml = text ? xml_read(text, NULL) : NULL;
	free(text);
	return xml;
}

/* ---- what both have ---- */

static bool is_usable(struct xml *domain, const char *model)
{
	g_autofree char *path =
		g_strdup_printf("cpu/mode[@name='custom']/model[@usable='yes' and .='%s']", model);
	return domain && !strchr(model, '\'') && xml_has(domain, NULL, path);
}

/* The features that a CPU leaves out of its model; NULL when there are too many to name. */
static char *list_exceptions(struct xml *cpu)
{
	g_autoptr(GPtrArray) names = xml_find(cpu, NULL, "feature[@policy='disable']/@name");
	g_autoptr(GString) list = g_string_new(NULL);
	if (names->len > EXCEPTIONS_MAX)
		return NULL;
	for (unsigned i = 0; i < names->len; i++) {
		xmlChar *name = xmlNodeGetContent(names->pdata[i]);
		g_string_append_printf(list, "%s%s", list->len ? ", " : "", (char *) name);
		xmlFree(name);
	}
	return g_strdup(list->str);
}

char *check_suggest_cpu(struct xml *baseline, struct xml *here, struct xml *there)
{
	static const char *const plain[] = { "kvm64", "qemu64" };
	static const char by_name[] = N_("Give the VM the CPU model “%s”, which both hosts have; "
					 "it takes effect when it is started again.");
	g_autofree char *model = baseline ? xml_string(baseline, NULL, "model") : NULL;
	g_autofree char *without = model ? list_exceptions(baseline) : NULL;
	if (model && is_usable(here, model) && is_usable(there, model))
		return g_strdup_printf(_(by_name), model);
	if (without && *without)
		return g_strdup_printf(_("Give the VM the CPU model “%s” without %s, which both "
					 "hosts have; it takes effect when it is started again."),
				       model, without);
	for (unsigned i = 0; i < G_N_ELEMENTS(plain); i++)
		if (is_usable(here, plain[i]) && is_usable(there, plain[i]))
			return g_strdup_printf(_(by_name), plain[i]);
	return g_strdup(_("Give the VM a CPU model that both hosts have (virsh "
			  "hypervisor-cpu-baseline finds one); it takes effect when it is started "
			  "again."));
}

/* ---- asking ---- */

static char *print_host_model(struct xml *domain)
{
	g_autoptr(GPtrArray) modes =
		xml_find(domain, NULL, "cpu/mode[@name='host-model' and @supported='yes']");
	if (modes->len == 0)
		return NULL;
	g_autoptr(GPtrArray) parts = xml_find(domain, modes->pdata[0], "*");
	g_autoptr(GString) text = g_string_new("<cpu>");
	for (unsigned i = 0; i < parts->len; i++) {
		g_autofree char *part = xml_print(domain, parts->pdata[i]);
		g_string_append(text, part);
	}
	return g_strdup(g_string_append(text, "</cpu>")->str);
}

/* An older libvirt may not know a feature of a newer one: whichever of them knows both. */
static struct xml *ask_baseline(struct check_context *context, struct xml *here, struct xml *there)
{
	g_autofree char *mine = print_host_model(here), *theirs = print_host_model(there);
	const char *cpus[] = { mine, theirs };
	virConnectPtr connections[] = { context->destination->connection,
					context->source->connection };
	for (unsigned i = 0; mine && theirs && i < G_N_ELEMENTS(connections); i++) {
		char *text = virConnectBaselineHypervisorCPU(
			connections[i], NULL, context->arch, NULL, context->virt_type, cpus,
			G_N_ELEMENTS(cpus), VIR_CONNECT_BASELINE_CPU_MIGRATABLE);
		struct xml *xml = text ? xml_read(text, NULL) : NULL;
		free(text);
		if (xml)
			return xml;
	}
	return NULL;
}

char *check_advise_cpu(struct check_context *context)
{
	struct xml *there = context->destination_domain;
	struct xml *here = context->source->connection
				   ? check_ask_domain(context->source, context, context->emulator,
						      context->virt_type)
				   : NULL;
	struct xml *baseline = here ? ask_baseline(context, here, there) : NULL;
	char *advice = check_suggest_cpu(baseline, here, there);
	xml_free(baseline);
	xml_free(here);
	return advice;
}
