/* SPDX-License-Identifier: Apache-2.0 */
/* What of a host's memory is free for a new VM. See room.h. */
#include "host/room.h"

#include <string.h>

#define ASK_MS 20000

/* The kernel's own texts, and "word value" lines for what is spread over many files. */
static const char script[] =
	"cat /proc/meminfo\n"
	"cat /sys/devices/system/node/node*/meminfo 2>/dev/null\n"
	"sed -n -e 's/^size  *[0-9]*  *\\([0-9]*\\)$/arc-size \\1/p' "
	"-e 's/^c_min  *[0-9]*  *\\([0-9]*\\)$/arc-least \\1/p' "
	"/proc/spl/kstat/zfs/arcstats 2>/dev/null\n"
	"echo overcommit \"$(cat /proc/sys/vm/overcommit_memory 2>/dev/null)\"\n"
	"for d in /sys/kernel/mm/hugepages/hugepages-*kB; do [ -d \"$d\" ] || continue; "
	"s=${d##*-}; echo pages ${s%kB} $(cat $d/free_hugepages $d/resv_hugepages "
	"$d/nr_overcommit_hugepages $d/surplus_hugepages); done\n"
	"sed -n 's/^[^ ]* [^ ]* hugetlbfs [^ ]*pagesize=\\([0-9]*[KMG]\\).*/mounted \\1/p' "
	"/proc/mounts\n"
	"d=$(sed -n 's/^ *memory_backing_dir *= *\"\\(.*\\)\".*/\\1/p' /etc/libvirt/qemu.conf "
	"2>/dev/null | tail -n 1); d=${d:-/var/lib/libvirt/qemu/ram}\n"
	"while [ ! -d \"$d\" ] && [ \"$d\" ]; do d=${d%/*}; done\n"
	"df -Pk \"${d:-/}\" 2>/dev/null | { read h; read a b c d e; echo file-room \"$d\"; }\n"
	"exit 0\n";

/* What the kernel's texts say, in bytes; -1: it does not say. */
struct told {
	int64_t total, free, available, buffers, cached, shared, anonymous, limit, promised;
	int64_t huge_page, arc_size, arc_least, overcommit, file_room;
};

static const struct {
	const char *word;
	size_t offset;
	uint64_t unit_bytes;
} words[] = {
	{ "MemTotal:", offsetof(struct told, total), 1024 },
	{ "MemFree:", offsetof(struct told, free), 1024 },
	{ "MemAvailable:", offsetof(struct told, available), 1024 },
	{ "Buffers:", offsetof(struct told, buffers), 1024 },
	{ "Cached:", offsetof(struct told, cached), 1024 },
	{ "Shmem:", offsetof(struct told, shared), 1024 },
	{ "AnonPages:", offsetof(struct told, anonymous), 1024 },
	{ "CommitLimit:", offsetof(struct told, limit), 1024 },
	{ "Committed_AS:", offsetof(struct told, promised), 1024 },
	{ "Hugepagesize:", offsetof(struct told, huge_page), 1024 },
	{ "arc-size", offsetof(struct told, arc_size), 1 },
	{ "arc-least", offsetof(struct told, arc_least), 1 },
	{ "overcommit", offsetof(struct told, overcommit), 1 },
	{ "file-room", offsetof(struct told, file_room), 1024 },
};

/* A number that no host can have is as good as none. */
static int64_t read_amount(const char *text, uint64_t unit_bytes)
{
	char *end = NULL;
	guint64 value = text && g_ascii_isdigit(*text) ? g_ascii_strtoull(text, &end, 10) : 0;
	if (!end || value > (guint64) G_MAXINT64 / 1024)
		return -1;
	return (int64_t) (value * unit_bytes);
}

static void take_room_word(struct told *told, char **parts, unsigned count)
{
	for (unsigned i = 0; count >= 2 && i < G_N_ELEMENTS(words); i++)
		if (strcmp(parts[0], words[i].word) == 0)
			*(int64_t *) (void *) ((char *) told + words[i].offset) =
				read_amount(parts[1], words[i].unit_bytes);
}

/* "Node 0 MemFree: 1234 kB". What may be dropped of a node are its files' pages. */
static void take_node(struct room *room, char **parts, unsigned count)
{
	static const char *const kinds[] = { "MemFree:", "Active(file):", "Inactive(file):" };
	int64_t id = count >= 4 ? read_amount(parts[1], 1) : -1;
	int64_t bytes = count >= 4 ? read_amount(parts[3], 1024) : -1;
	if (id < 0 || id >= ROOM_NODES_MOST || bytes < 0)
		return;
	if (strcmp(parts[2], "MemTotal:") == 0)
		room->nodes[id].total_bytes = (uint64_t) bytes;
	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++)
		if (strcmp(parts[2], kinds[i]) == 0)
			room->nodes[id].available_bytes += (uint64_t) bytes;
}

/* "pages KIB FREE PROMISED MOST-ON-DEMAND ADDED": pages that are promised are free only by name. */
static void take_huge_pages(struct room *room, char **parts, unsigned count)
{
	int64_t numbers[5];
	if (count < 6 || room->pages_count == ROOM_PAGES_MOST)
		return;
	for (unsigned i = 0; i < G_N_ELEMENTS(numbers); i++) {
		numbers[i] = read_amount(parts[i + 1], 1);
		if (numbers[i] < 0 || numbers[i] > G_MAXINT32)
			return;
	}
	uint64_t size = (uint64_t) numbers[0] * 1024;
	int64_t pages = MAX(numbers[1] - numbers[2], 0) + MAX(numbers[3] - numbers[4], 0);
	room->pages[room->pages_count++] = (struct room_pages){
		.size_bytes = size,
		.free_bytes = (uint64_t) pages * size,
	};
}

/* "mounted 2M", behind all "pages". */
static void take_mounted(struct room *room, const char *text)
{
	char *end = NULL;
	guint64 size = g_ascii_strtoull(text, &end, 10);
	size *= *end == 'G' ? 1 << 30 : *end == 'M' ? 1 << 20 : 1 << 10;
	for (unsigned i = 0; i < room->pages_count; i++)
		if (room->pages[i].size_bytes == size)
			room->pages[i].mounted = true;
}

static void take_room_line(struct room *room, struct told *told, char *line)
{
	char *parts[8];
	unsigned count = 0;
	char *rest = NULL;
	for (char *part = strtok_r(line, " \t", &rest); part && count < G_N_ELEMENTS(parts);
	     part = strtok_r(NULL, " \t", &rest))
		parts[count++] = part;
	if (count == 0)
		return;
	if (strcmp(parts[0], "Node") == 0)
		take_node(room, parts, count);
	else if (strcmp(parts[0], "pages") == 0)
		take_huge_pages(room, parts, count);
	else if (strcmp(parts[0], "mounted") == 0 && count >= 2)
		take_mounted(room, parts[1]);
	else
		take_room_word(told, parts, count);
}

static uint64_t at_least_0(int64_t bytes)
{
	return (uint64_t) MAX(bytes, 0);
}

/* MemAvailable leaves tmpfs and memfd out already; what came before it (Linux 3.14) counts them as
 * page cache. ZFS keeps its cache outside of the page cache; whatever kernel and ZFS say of each
 * other, no more can come free than is neither a process's nor shared. */
static void reckon_available(struct room *room, const struct told *told)
{
	uint64_t most = at_least_0(told->total - MAX(told->shared, 0) - MAX(told->anonymous, 0));
	int64_t available = told->available;
	if (available < 0)
		available = told->free + MAX(told->buffers, 0) + MAX(told->cached, 0) -
			    MAX(told->shared, 0);
	room->available_bytes = at_least_0(available);
	if (told->arc_size > 0 && most > room->available_bytes)
		room->arc_bytes = MIN(at_least_0(told->arc_size - MAX(told->arc_least, 0)),
				      most - room->available_bytes);
	room->available_bytes += room->arc_bytes;
}

bool room_parse(const char *text, struct room *room)
{
	struct told told;
	g_auto(GStrv) lines = g_strsplit(text, "\n", 100000);
	memset(&told, 0xff, sizeof(told)); /* -1 everywhere */
	*room = (struct room){ 0 };
	for (char **line = lines; *line; line++)
		take_room_line(room, &told, *line);
	if (told.total <= 0 || told.free < 0)
		return false;
	room->total_bytes = (uint64_t) told.total;
	room->free_bytes = (uint64_t) told.free;
	room->shared_bytes = at_least_0(told.shared);
	reckon_available(room, &told);
	room->strict = told.overcommit == 2;
	room->promise_bytes = at_least_0(told.limit - told.promised);
	room->file_bytes = at_least_0(told.file_room);
	room->default_page_bytes = at_least_0(told.huge_page);
	return true;
}

bool room_ask(const struct remote_shell *shell, const struct host_address *host, struct room *room)
{
	const char *const argv[] = { "sh", "-c", script, NULL };
	g_autofree char *output = NULL;
	return remote_run(shell, host, argv, ASK_MS, &output, NULL, NULL) &&
	       room_parse(output, room);
}

const struct room_pages *room_find_pages(const struct room *room, uint64_t size_bytes)
{
	for (unsigned i = 0; i < room->pages_count; i++)
		if (room->pages[i].size_bytes == size_bytes)
			return &room->pages[i];
	return NULL;
}
