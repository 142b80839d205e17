/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of the processors and memory nodes that a VM is bound to: QEMU does not start where one of
 * them is not there. */
#include "host/checks/checks.h"

#include "base/i18n.h"
#include "base/unit.h"

#include <stdlib.h>
#include <string.h>

/* ---- lists like "0-3,^2,8" ---- */

enum { NUMBER_MOST = 8191 };

/* Takes one part of such a list over into MAP. */
static void take_set_part(const char *part, bool map[NUMBER_MOST + 1])
{
	bool out = *part == '^';
	char *end = NULL;
	if (!g_ascii_isdigit(part[out]))
		return;
	int64_t first = g_ascii_strtoll(part + out, &end, 10);
	int64_t last = *end == '-' ? g_ascii_strtoll(end + 1, NULL, 10) : first;
	for (int64_t i = first; i >= 0 && i <= MIN(last, NUMBER_MOST); i++)
		map[i] = !out;
}

static void read_set(const char *set, bool map[NUMBER_MOST + 1])
{
	g_auto(GStrv) parts = g_strsplit(set, ",", -1);
	memset(map, 0, NUMBER_MOST + 1);
	for (unsigned i = 0; parts[i]; i++)
		take_set_part(g_strstrip(parts[i]), map);
}

bool check_is_in_set(const char *set, int64_t number)
{
	bool map[NUMBER_MOST + 1];
	read_set(set, map);
	return number >= 0 && number <= NUMBER_MOST && map[number];
}

/* The numbers in the lists at PATH that IS_THERE does not know, as a text; NULL: there is none. */
static char *list_missing(struct check_context *context, const char *path,
			  bool (*is_there)(const struct check_context *context, unsigned number))
{
	bool wanted[NUMBER_MOST + 1] = { false }, map[NUMBER_MOST + 1];
	g_autoptr(GString) missing = g_string_new(NULL);
	g_autoptr(GPtrArray) nodes = xml_find(context->vm, NULL, path);
	for (unsigned i = 0; i < nodes->len; i++) {
		g_autofree char *set = xml_string(context->vm, nodes->pdata[i], ".");
		read_set(set ? set : "", map);
		for (unsigned number = 0; number <= NUMBER_MOST; number++)
			wanted[number] |= map[number];
	}
	for (unsigned number = 0; number <= NUMBER_MOST && missing->len < 60; number++)
		if (wanted[number] && !is_there(context, number))
			g_string_append_printf(missing, "%s%u", missing->len ? ", " : "", number);
	return missing->len > 0 ? g_strdup(missing->str) : NULL;
}

/* ---- what is there ---- */

static bool has_processor(const struct check_context *context, unsigned number)
{
	return context->cpu_count <= 0 || (number < (unsigned) context->cpu_count &&
					   context->cpu_map[number / 8] >> number % 8 & 1);
}

static bool has_node(const struct check_context *context, unsigned number)
{
	g_autofree char *path = g_strdup_printf("host/topology/cells/cell[@id='%u']", number);
	return xml_has(context->destination_capabilities, NULL, path) ||
	       (number == 0 &&
		!xml_has(context->destination_capabilities, NULL, "host/topology/cells/cell"));
}

static const struct {
	const char *path, *what;
	bool (*is_there)(const struct check_context *context, unsigned number);
} bindings[] = {
	{ "vcpu/@cpuset | cputune/*/@cpuset",
	  N_("“%s” is pinned to processors that %s does not have, or has switched off: %s"),
	  has_processor },
	/* libvirt refuses a node that is not there even where memory is only to prefer it */
	{ "numatune/*/@nodeset | devices/memory/source/nodemask",
	  N_("“%s” is bound to memory nodes that %s does not have: %s"), has_node },
};

static void check_bindings(struct check_context *context)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(bindings); i++) {
		g_autofree char *missing =
			list_missing(context, bindings[i].path, bindings[i].is_there);
		g_autoptr(GString) what = g_string_new(_(bindings[i].what));
		if (!missing)
			continue;
		g_string_replace(what, "%s", context->name, 1);
		g_string_replace(what, "%s", context->destination->name, 1);
		g_string_replace(what, "%s", missing, 1);
		check_add(context->findings, "placement", CHECK_REFUSE,
			  _("Change or remove the pinning (virsh vcpupin, emulatorpin, "
			    "iothreadpin, numatune) before the migration."),
			  "%s", what->str);
	}
}

/* ---- room in the nodes ---- */

/* What the memory nodes in SET have at the destination, all and free. */
static void sum_nodes(struct check_context *context, const char *set, struct room_node *sum)
{
	struct xml *there = context->destination_capabilities;
	bool map[NUMBER_MOST + 1];
	g_autoptr(GPtrArray) cells = xml_find(there, NULL, "host/topology/cells/cell");
	*sum = (struct room_node){ 0 };
	read_set(set, map);
	for (unsigned i = 0; i < cells->len; i++) {
		uint64_t id = xml_number(there, cells->pdata[i], "@id", 0);
		if (id >= ROOM_NODES_MOST || !map[id])
			continue;
		sum->total_bytes += xml_number(there, cells->pdata[i], "memory", 0) * 1024;
		if (context->room)
			sum->available_bytes += context->room->nodes[id].available_bytes;
	}
}

/* NOW, MOST: what of the guest's memory must be in SET. */
static void judge_nodes(struct check_context *context, const char *set,
			const struct check_need *need)
{
	struct room_node sum;
	sum_nodes(context, set, &sum);
	/* ZFS gives its cache back, and does not say on which node */
	uint64_t available = sum.available_bytes + (context->room ? context->room->arc_bytes : 0);
	g_autofree char *most = unit_format_bytes(need->most_bytes);
	g_autofree char *now = unit_format_bytes(need->now_bytes);
	g_autofree char *total = unit_format_bytes(sum.total_bytes);
	g_autofree char *free_text = unit_format_bytes(sum.available_bytes);
	if (sum.total_bytes > 0 && sum.total_bytes < need->most_bytes)
		check_add(context->findings, "placement", CHECK_REFUSE,
			  _("Change or remove the binding (virsh numatune) before the migration."),
			  _("“%s” needs %s and is bound to the memory nodes %s, which have only %s "
			    "at %s"),
			  context->name, most, set, total, context->destination->name);
	else if (sum.available_bytes > 0 && sum.available_bytes < need->now_bytes)
		check_add(
			context->findings, "placement",
			available < need->now_bytes ? CHECK_REFUSE : CHECK_WARN,
			_("Make room there, or change or remove the binding (virsh numatune)."),
			_("“%s” needs %s and is bound to the memory nodes %s, of which %s are free "
			  "at %s"),
			context->name, now, set, free_text, context->destination->name);
}

/* The memory of each of the guest's nodes that is bound by itself. */
static void check_guest_nodes(struct check_context *context)
{
	g_autoptr(GPtrArray) bound = xml_find(
		context->vm, NULL, "numatune/memnode[@mode='strict' or @mode='restrictive']");
	for (unsigned i = 0; i < bound->len; i++) {
		g_autofree char *set = xml_string(context->vm, bound->pdata[i], "@nodeset");
		uint64_t cell = xml_number(context->vm, bound->pdata[i], "@cellid", 0);
		g_autofree char *path =
			g_strdup_printf("cpu/numa/cell[@id='%" G_GUINT64_FORMAT "']/@memory", cell);
		uint64_t bytes = xml_number(context->vm, NULL, path, 0) * 1024;
		struct check_need need = { bytes, bytes };
		if (set && !xml_has(context->vm, NULL, "memoryBacking/hugepages"))
			judge_nodes(context, set, &need);
	}
}

/* Bound to memory nodes that are there: do they have enough? */
static void check_nodes(struct check_context *context)
{
	g_autofree char *set =
		xml_string(context->vm, NULL,
			   "numatune/memory[@mode='strict' or @mode='restrictive']/@nodeset");
	struct check_need need;
	uint64_t bytes = xml_number(context->vm, NULL, "memory", 0) * 1024;
	if (!context->domain || !check_read_need(context, &need))
		need = (struct check_need){ bytes, bytes };
	if (set)
		judge_nodes(context, set, &need);
	check_guest_nodes(context);
}

/* ---- the check ---- */

static void warn_of_processors(struct check_context *context)
{
	virDomainInfo info = { 0 };
	int online = 0;
	for (int i = 0; i < context->cpu_count; i++)
		online += has_processor(context, (unsigned) i);
	if (online > 0 && context->domain && virDomainGetInfo(context->domain, &info) == 0 &&
	    info.nrVirtCpu > online)
		check_add(
			context->findings, "placement", CHECK_WARN, NULL,
			_("“%s” has %d virtual processors and %s only %d: it will be slower there"),
			context->name, info.nrVirtCpu, context->destination->name, online);
}

void check_placement(struct check_context *context)
{
	unsigned before = context->findings->len;
	check_bindings(context);
	if (context->findings->len == before)
		check_nodes(context);
	warn_of_processors(context);
	if (context->findings->len == before)
		check_add(context->findings, "placement", CHECK_PASS, NULL, NULL);
}
