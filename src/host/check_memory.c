/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of memory, huge pages, processors and NUMA placement at the destination. */
#include "host/checks.h"

#include "base/i18n.h"
#include "base/unit.h"

#include <libvirt/virterror.h>
#include <string.h>

/* What a QEMU takes beside the guest's memory: roughly, and rather too much than too little. */
#define OVERHEAD_BYTES ((uint64_t) 64 * 1024 * 1024)

/* Free, or soon free: the kernel gives up clean page cache for a new VM. Without the details only
 * what is free counts. */
static bool ask_available(virConnectPtr connection, uint64_t *free_bytes, uint64_t *available_bytes)
{
	int count = 0;
	*free_bytes = virNodeGetFreeMemory(connection);
	*available_bytes = *free_bytes;
	if (virNodeGetMemoryStats(connection, VIR_NODE_MEMORY_STATS_ALL_CELLS, NULL, &count, 0) ==
		    0 &&
	    count > 0) {
		g_autofree virNodeMemoryStats *stats = g_new0(virNodeMemoryStats, count);
		if (virNodeGetMemoryStats(connection, VIR_NODE_MEMORY_STATS_ALL_CELLS, stats,
					  &count, 0) < 0)
			return *free_bytes > 0;
		for (int i = 0; i < count; i++)
			if (!strcmp(stats[i].field, VIR_NODE_MEMORY_STATS_CACHED) ||
			    !strcmp(stats[i].field, VIR_NODE_MEMORY_STATS_BUFFERS))
				*available_bytes += (uint64_t) stats[i].value * 1024;
	}
	return *free_bytes > 0;
}

/* Free pages of SIZE at the destination, all nodes together. */
static uint64_t ask_free_pages(struct check_context *context, unsigned size_kib)
{
	unsigned long long pages[64] = { 0 };
	uint64_t sum = 0;
	unsigned cells = (unsigned) xml_number(context->destination_capabilities, NULL,
					       "host/topology/cells/@num", 1);
	cells = CLAMP(cells, 1, G_N_ELEMENTS(pages));
	if (virNodeGetFreePages(context->destination->connection, 1, &size_kib, 0, cells, pages,
				0) < 0)
		return 0;
	for (unsigned i = 0; i < cells; i++)
		sum += pages[i];
	return sum;
}

static void check_huge_pages(struct check_context *context, uint64_t need)
{
	const char *path = "memoryBacking/hugepages/page/@size";
	uint64_t size_kib = xml_number(context->vm, NULL, path, 2048);
	uint64_t have = ask_free_pages(context, (unsigned) size_kib) * size_kib * 1024;
	g_autofree char *need_text = unit_format_bytes(need), *have_text = unit_format_bytes(have);
	g_autofree char *size_text = unit_format_bytes(size_kib * 1024);
	if (have < need)
		check_add(context->findings, "huge-pages", CHECK_REFUSE,
			  _("Reserve more there: sysctl vm.nr_hugepages, or virsh allocpages."),
			  _("“%s” needs %s of huge pages (%s each); %s has %s free"), context->name,
			  need_text, size_text, context->destination->name, have_text);
	else
		check_add(context->findings, "huge-pages", CHECK_PASS, NULL, NULL);
}

void check_memory(struct check_context *context)
{
	virDomainInfo info = { 0 };
	uint64_t free_bytes = 0, available = 0;
	if (virDomainGetInfo(context->domain, &info) < 0) {
		check_add_virt(context, "memory", CHECK_WARN, NULL, context->name);
		return;
	}
	uint64_t guest = (uint64_t) info.maxMem * 1024;
	if (xml_has(context->vm, NULL, "memoryBacking/hugepages")) {
		check_huge_pages(context, guest);
		return;
	}
	if (!ask_available(context->destination->connection, &free_bytes, &available)) {
		check_add_virt(context, "memory", CHECK_WARN, NULL,
			       _("the free memory of the destination is not known"));
		return;
	}
	g_autofree char *need_text = unit_format_bytes(guest + OVERHEAD_BYTES);
	g_autofree char *have_text = unit_format_bytes(available);
	if (available < guest + OVERHEAD_BYTES)
		check_add(context->findings, "memory", CHECK_REFUSE,
			  _("Make room there, or choose another destination."),
			  _("“%s” needs about %s of memory; %s has %s free"), context->name,
			  need_text, context->destination->name, have_text);
	else if (xml_has(context->vm, NULL, "memoryBacking/locked") && free_bytes < guest)
		check_add(context->findings, "memory", CHECK_WARN, NULL,
			  _("“%s” locks its memory; %s must drop page cache first to have it free"),
			  context->name, context->destination->name);
	else
		check_add(context->findings, "memory", CHECK_PASS, NULL, NULL);
}

/* The largest number in a list like "0-3,^2,8"; -1: none. */
static int64_t largest_in_set(const char *set)
{
	int64_t largest = -1;
	while (set && *set) {
		if (!g_ascii_isdigit(*set)) {
			set++;
			continue;
		}
		int64_t value = g_ascii_strtoll(set, (char **) (uintptr_t) &set, 10);
		largest = MAX(largest, value);
	}
	return largest;
}

static int64_t largest_at(struct check_context *context, const char *path)
{
	int64_t largest = -1;
	g_autoptr(GPtrArray) sets = xml_find(context->vm, NULL, path);
	for (unsigned i = 0; i < sets->len; i++) {
		xmlChar *text = xmlNodeGetContent(sets->pdata[i]);
		largest = MAX(largest, largest_in_set((const char *) text));
		xmlFree(text);
	}
	return largest;
}

/* Is NUMBER in a list like "0-3,^2,8"? */
static bool is_in_set(const char *set, int64_t number)
{
	g_auto(GStrv) parts = g_strsplit(set, ",", -1);
	bool found = false;
	for (unsigned i = 0; parts[i]; i++) {
		const char *part = g_strstrip(parts[i]);
		bool out = *part == '^';
		char *end = NULL;
		int64_t first = g_ascii_strtoll(part + out, &end, 10);
		int64_t last = *end == '-' ? g_ascii_strtoll(end + 1, NULL, 10) : first;
		if (number >= first && number <= last)
			found = !out;
	}
	return found;
}

/* What the memory nodes in SET have at the destination, all and free. FREE_BYTES: 0 where libvirt
 * did not say. */
static uint64_t sum_nodes(struct check_context *context, const char *set, uint64_t *free_bytes)
{
	struct xml *there = context->destination_capabilities;
	unsigned long long free_there[64] = { 0 };
	uint64_t all = 0;
	g_autoptr(GPtrArray) cells = xml_find(there, NULL, "host/topology/cells/cell");
	int count = virNodeGetCellsFreeMemory(context->destination->connection, free_there, 0,
					      G_N_ELEMENTS(free_there));
	*free_bytes = 0;
	for (unsigned i = 0; i < cells->len; i++) {
		uint64_t id = xml_number(there, cells->pdata[i], "@id", 0);
		if (!is_in_set(set, (int64_t) id))
			continue;
		all += xml_number(there, cells->pdata[i], "memory", 0) * 1024;
		if (count > 0 && id < (uint64_t) count)
			*free_bytes += free_there[id];
	}
	return all;
}

/* Bound to memory nodes that are there: do they have enough? */
static void check_nodes(struct check_context *context)
{
	g_autofree char *set =
		xml_string(context->vm, NULL,
			   "numatune/memory[@mode='strict' or @mode='restrictive']/@nodeset");
	uint64_t guest = xml_number(context->vm, NULL, "memory", 0) * 1024, free_bytes = 0;
	uint64_t all = set ? sum_nodes(context, set, &free_bytes) : 0;
	g_autofree char *need = unit_format_bytes(guest), *have = unit_format_bytes(all),
			*free_text = unit_format_bytes(free_bytes);
	if (all > 0 && all < guest)
		check_add(context->findings, "placement", CHECK_REFUSE,
			  _("Change or remove the binding (virsh numatune) before the migration."),
			  _("“%s” needs %s and is bound to the memory nodes %s, which have only %s "
			    "at %s"),
			  context->name, need, set, have, context->destination->name);
	else if (free_bytes > 0 && free_bytes < guest)
		check_add(
			context->findings, "placement", CHECK_WARN,
			_("Make room there, or change or remove the binding (virsh numatune)."),
			_("“%s” needs %s and is bound to the memory nodes %s, of which %s are free "
			  "at %s"),
			context->name, need, set, free_text, context->destination->name);
}

/* Pinned to processors or memory nodes that are not there, QEMU does not start. */
void check_placement(struct check_context *context)
{
	virNodeInfo node = { 0 };
	virDomainInfo info = { 0 };
	unsigned before = context->findings->len;
	int cpus = virNodeGetCPUMap(context->destination->connection, NULL, NULL, 0);
	if (cpus <= 0 && virNodeGetInfo(context->destination->connection, &node) == 0)
		cpus = (int) VIR_NODEINFO_MAXCPUS(node);
	int64_t cells = (int64_t) xml_number(context->destination_capabilities, NULL,
					     "host/topology/cells/@num", 1);
	const char *next = _("Change or remove the pinning (virsh vcpupin, emulatorpin, numatune) "
			     "before the migration.");
	int64_t cpu = largest_at(context, "vcpu/@cpuset | cputune/*/@cpuset");
	int64_t cell =
		largest_at(context, "numatune/*[@mode='strict' or @mode='restrictive']/@nodeset");
	if (cpus > 0 && cpu >= cpus)
		check_add(context->findings, "placement", CHECK_REFUSE, next,
			  _("“%s” is pinned to processor %d, and %s has only %d"), context->name,
			  (int) cpu, context->destination->name, cpus);
	if (cell >= cells)
		check_add(context->findings, "placement", CHECK_REFUSE, next,
			  _("“%s” is bound to memory node %d, and %s has only %d"), context->name,
			  (int) cell, context->destination->name, (int) cells);
	else
		check_nodes(context);
	if (cpus > 0 && virDomainGetInfo(context->domain, &info) == 0 && info.nrVirtCpu > cpus)
		check_add(
			context->findings, "placement", CHECK_WARN, NULL,
			_("“%s” has %d virtual processors and %s only %d: it will be slower there"),
			context->name, info.nrVirtCpu, context->destination->name, cpus);
	if (context->findings->len == before)
		check_add(context->findings, "placement", CHECK_PASS, NULL, NULL);
}
