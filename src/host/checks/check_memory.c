/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of room for the VM's memory at the destination: plain, huge pages, in a file. */
#include "host/checks/checks.h"

#include "base/i18n.h"
#include "base/unit.h"

#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>

/* What a QEMU takes beside the guest's memory: roughly, and rather too much than too little. */
#define OVERHEAD_BYTES ((uint64_t) 64 * 1024 * 1024)

/* ---- what libvirt tells, where the kernel cannot be asked ---- */

/* libvirt's numbers count tmpfs and memfd as page cache, which nobody gives up. */
static bool ask_libvirt_memory(virConnectPtr connection, uint64_t *free_bytes, uint64_t *most_bytes)
{
	int count = 0;
	*free_bytes = virNodeGetFreeMemory(connection);
	*most_bytes = *free_bytes;
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
				*most_bytes += (uint64_t) stats[i].value * 1024;
	}
	return *free_bytes > 0;
}

static void refuse_memory(struct check_context *context, uint64_t need_bytes, uint64_t have_bytes,
			  const char *beside)
{
	g_autofree char *need = unit_format_bytes(need_bytes),
			*have = unit_format_bytes(have_bytes);
	check_add(context->findings, "memory", CHECK_REFUSE,
		  _("Make room there, or choose another destination."),
		  _("“%s” needs about %s of memory; %s has %s free%s"), context->name, need,
		  context->destination->name, have, beside ? beside : "");
}

static void check_by_libvirt(struct check_context *context, uint64_t need_bytes)
{
	uint64_t free_bytes = 0, most_bytes = 0;
	if (!ask_libvirt_memory(context->destination->connection, &free_bytes, &most_bytes)) {
		check_add_virt(context, "memory", CHECK_WARN, NULL,
			       _("the free memory of the destination is not known"));
		return;
	}
	g_autofree char *need = unit_format_bytes(need_bytes),
			*free_text = unit_format_bytes(free_bytes),
			*most = unit_format_bytes(most_bytes);
	if (most_bytes < need_bytes)
		refuse_memory(context, need_bytes, most_bytes, NULL);
	else if (free_bytes < need_bytes)
		check_add(context->findings, "memory", CHECK_WARN,
			  _("See there with “free -m” whether enough is available."),
			  _("“%s” needs about %s of memory; %s has %s free, or %s if it gives up "
			    "all of its page cache, and could not be asked over the shell"),
			  context->name, need, context->destination->name, free_text, most);
	else
		check_add(context->findings, "memory", CHECK_PASS, NULL, NULL);
}

/* ---- what the kernel tells ---- */

/* What is not free although it looks like it, for the message. */
static char *describe_shared(const struct room *room)
{
	g_autofree char *shared = unit_format_bytes(room->shared_bytes);
	return room->shared_bytes > room->total_bytes / 16
		       ? g_strdup_printf(_(" (%s are in tmpfs or shared by VMs)"), shared)
		       : NULL;
}

static void warn_of_maximum(struct check_context *context, const struct check_need *need,
			    uint64_t have_bytes)
{
	g_autofree char *now = unit_format_bytes(need->now_bytes),
			*most = unit_format_bytes(need->most_bytes),
			*have = unit_format_bytes(have_bytes);
	check_add(context->findings, "memory", CHECK_WARN,
		  _("Do not raise it there (virsh setmem) before there is room."),
		  _("“%s” has %s of memory now (balloon) and may have %s; %s has %s free"),
		  context->name, now, most, context->destination->name, have);
}

static void check_locked(struct check_context *context, const struct room *room,
			 const struct check_need *need)
{
	if (xml_has(context->vm, NULL, "memoryBacking/locked") &&
	    room->free_bytes < need->most_bytes)
		check_add(context->findings, "memory", CHECK_WARN, NULL,
			  _("“%s” locks its memory; %s must drop page cache first to have it free"),
			  context->name, context->destination->name);
	else
		check_add(context->findings, "memory", CHECK_PASS, NULL, NULL);
}

static bool is_file(struct check_context *context)
{
	return xml_has(context->vm, NULL, "memoryBacking/source[@type='file']");
}

/* A kernel that promises no more than it has counts the maximum, used or not. */
static bool is_promised(struct check_context *context, const struct room *room, uint64_t need_bytes)
{
	g_autofree char *need = unit_format_bytes(need_bytes),
			*have = unit_format_bytes(room->promise_bytes);
	if (!room->strict || room->promise_bytes >= need_bytes || is_file(context))
		return true;
	check_add(context->findings, "memory", CHECK_REFUSE,
		  _("Let it promise more there (sysctl vm.overcommit_memory=0), or make room."),
		  _("“%s” needs %s of memory, and the kernel of %s promises only %s more "
		    "(vm.overcommit_memory is 2)"),
		  context->name, need, context->destination->name, have);
	return false;
}

/* Memory that is a file needs its room there, whatever of it is in memory; what was never written is
 * a hole. */
static bool fits_file(struct check_context *context, const struct room *room, uint64_t need_bytes)
{
	g_autofree char *need = unit_format_bytes(need_bytes),
			*have = unit_format_bytes(room->file_bytes);
	if (!is_file(context) || room->file_bytes == 0 || room->file_bytes >= need_bytes)
		return true;
	check_add(context->findings, "memory", CHECK_REFUSE,
		  _("Make room there, or name another place (memory_backing_dir in "
		    "/etc/libvirt/qemu.conf)."),
		  _("“%s” needs about %s for its memory, which is a file; %s has %s where libvirt "
		    "keeps such files"),
		  context->name, need, context->destination->name, have);
	return false;
}

void check_judge_memory(struct check_context *context, const struct room *room,
			const struct check_need *need)
{
	uint64_t now = need->now_bytes + OVERHEAD_BYTES, most = need->most_bytes + OVERHEAD_BYTES;
	g_autofree char *beside = describe_shared(room);
	if (room->available_bytes < now) {
		refuse_memory(context, now, room->available_bytes, beside);
		return;
	}
	if (!fits_file(context, room, need->now_bytes) || !is_promised(context, room, most))
		return;
	if (room->available_bytes < most)
		warn_of_maximum(context, need, room->available_bytes);
	else
		check_locked(context, room, need);
}

/* ---- huge pages ---- */

/* What of the guest's memory is in pages of this size: all, or that of some of its nodes. */
static uint64_t sum_in_pages(struct check_context *context, xmlNodePtr page, uint64_t all_bytes)
{
	g_autofree char *set = page ? xml_string(context->vm, page, "@nodeset") : NULL;
	g_autoptr(GPtrArray) cells = xml_find(context->vm, NULL, "cpu/numa/cell");
	uint64_t sum = 0;
	if (!set || cells->len == 0)
		return all_bytes;
	for (unsigned i = 0; i < cells->len; i++) {
		uint64_t id = xml_number(context->vm, cells->pdata[i], "@id", i);
		if (check_is_in_set(set, (int64_t) id))
			sum += xml_number(context->vm, cells->pdata[i], "@memory", 0) * 1024;
	}
	return sum;
}

static void judge_pages(struct check_context *context, const struct room *room, uint64_t size_bytes,
			uint64_t need_bytes)
{
	const struct room_pages *pages = room_find_pages(room, size_bytes);
	uint64_t have = pages ? pages->free_bytes : 0;
	g_autofree char *need_text = unit_format_bytes(need_bytes),
			*have_text = unit_format_bytes(have);
	g_autofree char *size_text = unit_format_bytes(size_bytes);
	if (have < need_bytes)
		check_add(context->findings, "huge-pages", CHECK_REFUSE,
			  _("Reserve more there: sysctl vm.nr_hugepages, or virsh allocpages."),
			  _("“%s” needs %s of huge pages (%s each); %s has %s free"), context->name,
			  need_text, size_text, context->destination->name, have_text);
	else if (!pages->mounted)
		check_add(context->findings, "huge-pages", CHECK_REFUSE,
			  _("Mount one there (mount -t hugetlbfs) and restart libvirt."),
			  _("%s has no file system for huge pages of %s, which “%s” uses"),
			  context->destination->name, size_text, context->name);
}

void check_judge_pages(struct check_context *context, const struct room *room, uint64_t all_bytes)
{
	unsigned before = context->findings->len;
	g_autoptr(GPtrArray) pages = xml_find(context->vm, NULL, "memoryBacking/hugepages/page");
	if (pages->len == 0)
		judge_pages(context, room, room->default_page_bytes, all_bytes);
	for (unsigned i = 0; i < pages->len; i++)
		judge_pages(context, room,
			    xml_number(context->vm, pages->pdata[i], "@size", 2048) * 1024,
			    sum_in_pages(context, pages->pdata[i], all_bytes));
	if (context->findings->len == before)
		check_add(context->findings, "huge-pages", CHECK_PASS, NULL, NULL);
}

/* ---- the check ---- */

/* What QEMU really holds; 0: libvirt does not say. */
static uint64_t ask_resident(virDomainPtr domain)
{
	virDomainMemoryStatStruct stats[VIR_DOMAIN_MEMORY_STAT_NR];
	int count = virDomainMemoryStats(domain, stats, G_N_ELEMENTS(stats), 0);
	for (int i = 0; i < count; i++)
		if (stats[i].tag == VIR_DOMAIN_MEMORY_STAT_RSS)
			return (uint64_t) stats[i].val * 1024;
	return 0;
}

/* What the VM's definition leaves it at its start; 0: it is not said. */
static uint64_t ask_wished(struct check_context *context)
{
	char *text = virDomainGetXMLDesc(context->domain, VIR_DOMAIN_XML_INACTIVE);
	struct xml *xml = text ? xml_read(text, NULL) : NULL;
	uint64_t wished = xml ? xml_number(xml, NULL, "currentMemory", 0) * 1024 : 0;
	xml_free(xml);
	free(text);
	return wished;
}

/* A balloon that the guest has not blown up yet leaves it all, by its own word; then what QEMU holds
 * is nearer to the truth. */
static uint64_t ask_ballooned(struct check_context *context, const virDomainInfo *info)
{
	uint64_t most = (uint64_t) info->maxMem * 1024, now = (uint64_t) info->memory * 1024;
	uint64_t wished = now >= most ? ask_wished(context) : 0;
	uint64_t resident = wished > 0 && wished < most ? ask_resident(context->domain) : 0;
	if (resident > 0)
		now = MAX(wished, resident);
	return now > 0 ? MIN(now, most) : most;
}

/* A VM has what its balloon leaves it, unless all of its memory is taken from the start. */
bool check_read_need(struct check_context *context, struct check_need *need)
{
	virDomainInfo info = { 0 };
	if (virDomainGetInfo(context->domain, &info) < 0)
		return false;
	bool whole = xml_has(context->vm, NULL,
			     "memoryBacking/locked | memoryBacking/allocation[@mode='immediate'] | "
			     "memoryBacking/hugepages | devices/hostdev[@type='pci'] | "
			     "devices/memballoon[@model='none']");
	need->most_bytes = (uint64_t) info.maxMem * 1024;
	need->now_bytes = whole ? need->most_bytes : ask_ballooned(context, &info);
	return true;
}

void check_memory(struct check_context *context)
{
	struct check_need need;
	bool huge = xml_has(context->vm, NULL, "memoryBacking/hugepages");
	if (!check_read_need(context, &need)) {
		check_add_virt(context, "memory", CHECK_WARN, NULL, context->name);
		return;
	}
	if (context->room && huge)
		check_judge_pages(context, context->room, need.most_bytes);
	else if (context->room)
		check_judge_memory(context, context->room, &need);
	else if (huge)
		check_add(context->findings, "huge-pages", CHECK_WARN, NULL,
			  _("the huge pages of %s could not be asked for over the shell"),
			  context->destination->name);
	else
		check_by_libvirt(context, need.now_bytes + OVERHEAD_BYTES);
}
