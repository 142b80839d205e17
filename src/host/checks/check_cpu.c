/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of CPU and time stamp counter. */
#include "host/checks/checks.h"

#include "base/i18n.h"

#include <inttypes.h>
#include <libvirt/virterror.h>
#include <string.h>

/* What libvirt says is missing, from "...does not provide required features: a, b". */
static const char *find_features(virErrorPtr last)
{
	const char *colon = last && last->message ? strrchr(last->message, ':') : NULL;
	return colon && last->code == VIR_ERR_CPU_INCOMPATIBLE ? colon + 2 : NULL;
}

static void report_cpu(struct check_context *context, enum check_result result, virErrorPtr last)
{
	/* copies: looking for another model makes libvirt forget its last error */
	g_autofree char *features = g_strdup(find_features(last));
	g_autofree char *reason =
		g_strdup(last && last->message ? last->message : _("it is not compatible"));
	g_autofree char *next = check_advise_cpu(context);
	if (features)
		check_add(context->findings, "cpu", result, next,
			  _("the CPU of %s lacks features that “%s” uses: %s"),
			  context->destination->name, context->name, features);
	else
		check_add(context->findings, "cpu", result, next,
			  _("the CPU of %s cannot run “%s”: %s"), context->destination->name,
			  context->name, reason);
}

/* A model or feature that is newer than the destination's libvirt: it would not even read the VM's
 * description. It has no code of its own for that. */
static bool is_unknown_there(virErrorPtr last)
{
	return last && last->message &&
	       (strstr(last->message, "nknown CPU feature") ||
		strstr(last->message, "nknown CPU model"));
}

/* check='none' in the VM's CPU: its owner wants no such question asked, and libvirt at the
 * destination will not ask it either. */
static void compare_cpu(struct check_context *context, const char *cpu)
{
	bool unchecked = xml_has(context->vm, NULL, "cpu[@check='none']");
	int result =
		virConnectCompareHypervisorCPU(context->destination->connection, context->emulator,
					       context->arch, context->machine, context->virt_type,
					       cpu, VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE);
	virErrorPtr last = virGetLastError();
	if (result == VIR_CPU_COMPARE_INCOMPATIBLE ||
	    (result < 0 && last && last->code == VIR_ERR_CPU_INCOMPATIBLE))
		report_cpu(context, unchecked ? CHECK_WARN : CHECK_REFUSE, last);
	else if (result < 0 && is_unknown_there(last))
		report_cpu(context, CHECK_REFUSE, last);
	else if (result < 0)
		check_add_virt(
			context, "cpu", CHECK_WARN, NULL,
			_("libvirt cannot compare the CPUs; the migration itself will tell"));
	else
		check_add(context->findings, "cpu", CHECK_PASS, NULL, NULL);
}

static void add_feature_names(struct xml *capabilities, GHashTable *names)
{
	g_autoptr(GPtrArray) features = xml_find(capabilities, NULL, "host/cpu/feature/@name");
	for (unsigned i = 0; i < features->len; i++) {
		xmlChar *name = xmlNodeGetContent(features->pdata[i]);
		g_hash_table_add(names, g_strdup((const char *) name));
		xmlFree(name);
	}
}

/* Features of the source's CPU that the destination's has not, and the other way round. */
static char *list_difference(struct xml *from, struct xml *without)
{
	g_autoptr(GHashTable) have = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	add_feature_names(without, have);
	g_autoptr(GPtrArray) features = xml_find(from, NULL, "host/cpu/feature/@name");
	GString *missing = g_string_new(NULL);
	for (unsigned i = 0; i < features->len; i++) {
		xmlChar *name = xmlNodeGetContent(features->pdata[i]);
		if (!g_hash_table_contains(have, name))
			g_string_append_printf(missing, "%s%s", missing->len ? ", " : "",
					       (char *) name);
		xmlFree(name);
	}
	return g_string_free(missing, FALSE);
}

/* The guest sees the host's CPU as it is: only an equal one will do without risk. A newer one of
 * the same model name usually works; a guest may still have looked at what changed. */
static void check_passthrough(struct check_context *context)
{
	struct xml *here = context->source_capabilities, *there = context->destination_capabilities;
	g_autofree char *model = xml_string(here, NULL, "host/cpu/model");
	g_autofree char *other = xml_string(there, NULL, "host/cpu/model");
	g_autofree char *vendor = xml_string(here, NULL, "host/cpu/vendor");
	g_autofree char *other_vendor = xml_string(there, NULL, "host/cpu/vendor");
	g_autofree char *missing = list_difference(here, there);
	g_autofree char *extra = list_difference(there, here);
	bool differ = g_strcmp0(vendor, other_vendor) != 0 || g_strcmp0(model, other) != 0;
	bool unsure = *extra || context->source->qemu_version != context->destination->qemu_version;
	if (!differ && !*missing && !unsure) {
		check_add(context->findings, "cpu", CHECK_PASS, NULL, NULL);
		return;
	}
	g_autofree char *next = check_advise_cpu(context);
	if (differ)
		check_add(context->findings, "cpu", CHECK_REFUSE, next,
			  _("“%s” uses the host's own CPU (host-passthrough), and the hosts' "
			    "differ: %s and %s"),
			  context->name, model ? model : "?", other ? other : "?");
	else if (*missing)
		check_add(context->findings, "cpu", CHECK_REFUSE, next,
			  _("“%s” uses the host's own CPU (host-passthrough), and %s lacks: %s"),
			  context->name, context->destination->name, missing);
	else
		check_add(context->findings, "cpu", CHECK_WARN, next,
			  _("“%s” uses the host's own CPU (host-passthrough); the hosts' are of "
			    "one model but not surely equal"),
			  context->name);
}

static void check_maximum(struct check_context *context)
{
	if (context->source->qemu_version == context->destination->qemu_version)
		check_add(context->findings, "cpu", CHECK_PASS, NULL, NULL);
	else
		check_add(
			context->findings, "cpu", CHECK_WARN,
			_("Give the VM a named CPU model; it takes effect when it is started "
			  "again."),
			_("“%s” has the CPU mode “maximum”, which is another CPU in another QEMU"),
			context->name);
}

void check_cpu(struct check_context *context)
{
	if (!context->destination_domain)
		return; /* the machine was refused: nothing to compare with */
	g_autofree char *mode = xml_string(context->vm, NULL, "cpu/@mode");
	g_autoptr(GPtrArray) cpu = xml_find(context->vm, NULL, "cpu");
	if (cpu->len == 0) {
		check_add(context->findings, "cpu", CHECK_PASS, NULL, NULL);
		return;
	}
	if (g_strcmp0(mode, "host-passthrough") == 0) {
		check_passthrough(context);
		return;
	}
	if (g_strcmp0(mode, "maximum") == 0) {
		check_maximum(context);
		return;
	}
	g_autofree char *text = xml_print(context->vm, cpu->pdata[0]);
	compare_cpu(context, text);
}

/* libvirt's own tolerance, 250 millionths: no two hosts of one kind tick quite alike. */
static bool are_near(uint64_t one, uint64_t other)
{
	uint64_t apart = one > other ? one - other : other - one;
	return apart <= other / 4000;
}

/* An invariant TSC ticks at the host's frequency: QEMU blocks the migration unless a frequency is
 * fixed. A fixed one, invariant or not, the destination must have or be able to scale to. */
void check_tsc(struct check_context *context)
{
	bool invariant =
		xml_has(context->vm, NULL, "cpu/feature[@name='invtsc' and @policy='require']");
	uint64_t fixed = xml_number(context->vm, NULL, "clock/timer[@name='tsc']/@frequency", 0);
	uint64_t there = xml_number(context->destination_capabilities, NULL,
				    "host/cpu/counter[@name='tsc']/@frequency", 0);
	g_autofree char *scaling = xml_string(context->destination_capabilities, NULL,
					      "host/cpu/counter[@name='tsc']/@scaling");
	if (invariant && fixed == 0)
		check_add(context->findings, "tsc", CHECK_REFUSE,
			  _("Fix the frequency (<timer name='tsc' frequency='...'/>) or drop the "
			    "feature; it takes effect when the VM is started again."),
			  _("“%s” has an invariant TSC (invtsc) without a fixed frequency"),
			  context->name);
	else if (fixed != 0 && there != 0 && !are_near(fixed, there) &&
		 g_strcmp0(scaling, "yes") != 0)
		check_add(
			context->findings, "tsc", CHECK_REFUSE,
			_("Choose a destination with the same TSC frequency or with TSC scaling."),
			_("“%s” needs a TSC of %" PRIu64 " Hz; that of %s has %" PRIu64
			  " Hz and cannot be scaled"),
			context->name, fixed, context->destination->name, there);
	else
		check_add(context->findings, "tsc", CHECK_PASS, NULL, NULL);
}
