/* SPDX-License-Identifier: Apache-2.0 */
/* What of a host's memory is free: texts as kernels print them, and what the checks say of them. */
#include "host/checks/checks.h"

#include <string.h>

#define GIB ((uint64_t) 1 << 30)
#define MIB ((uint64_t) 1 << 20)

/* 32 GiB, of which 8 are available; of 20 GiB of page cache 14 are tmpfs. */
#define FULL_OF_TMPFS                                                                           \
	"MemTotal:       33554432 kB\nMemFree:         2097152 kB\nMemAvailable:    8388608 "   \
	"kB\nBuffers:          262144 kB\nCached:         20971520 kB\nSwapCached:            " \
	"0 kB\nAnonPages:       8388608 kB\nShmem:          14680064 kB\nCommitLimit:    "      \
	"16777216 kB\nCommitted_AS:   15728640 kB\nHugePages_Total:       0\n"                  \
	"Hugepagesize:       2048 kB\n"
/* 32 GiB, 20 of them ZFS's cache: the kernel counts it as used. */
#define FULL_OF_ARC                                                                           \
	"MemTotal:       33554432 kB\nMemFree:         4194304 kB\nMemAvailable:    4194304 " \
	"kB\nBuffers:               0 kB\nCached:           524288 kB\nAnonPages:       "     \
	"6291456 kB\nShmem:            262144 kB\nHugepagesize:       2048 kB\n"              \
	"arc-size 21474836480\narc-least 1073741824\novercommit 0\n"

static char name[] = "there";

static struct room parse(const char *text)
{
	struct room room;
	g_assert_true(room_parse(text, &room));
	return room;
}

/* Neither tmpfs nor what ZFS keeps at the least is available, and nothing is counted twice. */
static void test_available(void)
{
	struct room room = parse(FULL_OF_TMPFS);
	g_assert_cmpuint(room.available_bytes, ==, 8 * GIB);
	g_assert_cmpuint(room.shared_bytes, ==, 14 * GIB);
	room = parse(FULL_OF_ARC);
	g_assert_cmpuint(room.arc_bytes, ==, 19 * GIB);
	g_assert_cmpuint(room.available_bytes, ==, 23 * GIB);
	/* a kernel that counts the cache as available already: no more than is there */
	room = parse(FULL_OF_ARC "MemAvailable: 25165824 kB\n");
	g_assert_cmpuint(room.available_bytes, ==, 32 * GIB - 256 * MIB - 6 * GIB);
	room = parse("MemTotal: 33554432 kB\nMemFree: 1048576 kB\nBuffers: 1048576 kB\n"
		     "Cached: 4194304 kB\nShmem: 3145728 kB\n");
	g_assert_cmpuint(room.available_bytes, ==, 3 * GIB);
}

static void test_nonsense(void)
{
	static const char *const texts[] = {
		"",
		"MemTotal:\n",
		"MemTotal: x kB\nMemFree: 1 kB\n",
		"MemTotal: 99999999999999999999999 kB\nMemFree: 1 kB\n",
		"MemFree: 12 kB\n",
		"pages 1\nNode\nNode 9 9\nmounted\n",
	};
	struct room room;
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
		g_assert_false(room_parse(texts[i], &room));
	room = parse(
		"MemTotal: 10 kB\nMemFree: 5 kB\nShmem: 900 kB\nCached: 1 kB\npages -1 2 3 4 5\n"
		"Node 99999 MemFree: 1 kB\nNode -1 MemFree: 1 kB\nfile-room\novercommit \n");
	g_assert_cmpuint(room.available_bytes, ==, 0);
	g_assert_cmpuint(room.pages_count, ==, 0);
}

/* ---- what is said of it ---- */

static const struct check_finding *judge(const char *vm, const char *text, uint64_t now,
					 uint64_t most)
{
	static GPtrArray *findings;
	static const struct check_options options;
	struct host there = { .name = name };
	struct room room = parse(text);
	g_autofree char *whole = g_strdup_printf("<domain>%s</domain>", vm);
	struct check_context context = { .destination = &there,
					 .options = &options,
					 .name = "vm",
					 .vm = xml_read(whole, NULL),
					 .findings = check_new_findings() };
	const struct check_need need = { now, most };
	g_clear_pointer(&findings, g_ptr_array_unref);
	if (strstr(vm, "hugepages"))
		check_judge_pages(&context, &room, most);
	else
		check_judge_memory(&context, &room, &need);
	xml_free(context.vm);
	findings = context.findings;
	g_assert_cmpuint(findings->len, ==, 1);
	return findings->pdata[0];
}

static void expect(const struct check_finding *finding, enum check_result result, const char *text)
{
	if (finding->result != result || (text && !strstr(finding->what, text)))
		g_error("%s “%s”, expected %s “%s”", check_result_name(finding->result),
			finding->what, check_result_name(result), text);
}

static void test_judged(void)
{
	/* free + cached would be 22 GiB */
	expect(judge("", FULL_OF_TMPFS, 12 * GIB, 12 * GIB), CHECK_REFUSE,
	       "has 8.0 GiB free (14.0 GiB are in tmpfs");
	expect(judge("", FULL_OF_TMPFS, 7 * GIB, 7 * GIB), CHECK_PASS, NULL);
	expect(judge("", FULL_OF_ARC, 16 * GIB, 16 * GIB), CHECK_PASS, NULL);
	expect(judge("", FULL_OF_ARC, 24 * GIB, 24 * GIB), CHECK_REFUSE, "23.0 GiB free");
	/* a balloon: what it has now counts, and what it may have is said */
	expect(judge("", FULL_OF_TMPFS, 1 * GIB, 64 * GIB), CHECK_WARN,
	       "has 1.0 GiB of memory now (balloon) and may have 64.0 GiB");
	expect(judge("", FULL_OF_TMPFS, 9 * GIB, 64 * GIB), CHECK_REFUSE, "needs about 9.1 GiB");
	expect(judge("", FULL_OF_TMPFS "overcommit 2\n", 2 * GIB, 2 * GIB), CHECK_REFUSE,
	       "promises only 1.0 GiB more");
	expect(judge("", FULL_OF_TMPFS "overcommit 1\n", 2 * GIB, 2 * GIB), CHECK_PASS, NULL);
	expect(judge("<memoryBacking><locked/></memoryBacking>", FULL_OF_TMPFS, 4 * GIB, 4 * GIB),
	       CHECK_WARN, "locks its memory");
	expect(judge("<memoryBacking><source type='file'/></memoryBacking>",
		     FULL_OF_TMPFS "file-room 1048576\n", 2 * GIB, 2 * GIB),
	       CHECK_REFUSE, "has 1.0 GiB where libvirt keeps such files");
}

#define HUGE(pages) "<memoryBacking><hugepages>" pages "</hugepages></memoryBacking>"
#define POOL \
	"pages 2048 1024 512 0 0\npages 1048576 4 0 4 2\nmounted 2M\n" /* 1 GiB; 6 GiB, unmounted */

static void test_pages(void)
{
	expect(judge(HUGE(""), FULL_OF_TMPFS POOL, GIB, GIB), CHECK_PASS, NULL);
	/* of 2 GiB half is promised */
	expect(judge(HUGE(""), FULL_OF_TMPFS POOL, 2 * GIB, 2 * GIB), CHECK_REFUSE,
	       "has 1.0 GiB free");
	expect(judge(HUGE("<page size='1048576'/>"), FULL_OF_TMPFS POOL, 6 * GIB, 6 * GIB),
	       CHECK_REFUSE, "no file system for huge pages of 1.0 GiB");
	expect(judge(HUGE("<page size='1048576'/>"), FULL_OF_TMPFS POOL "mounted 1024M\n", 6 * GIB,
		     6 * GIB),
	       CHECK_PASS, NULL);
	expect(judge(HUGE("<page size='65536'/>"), FULL_OF_TMPFS POOL, GIB, GIB), CHECK_REFUSE,
	       "has 0 B free");
	/* only one of the guest's nodes is in huge pages */
	expect(judge(HUGE("<page size='2048' nodeset='1'/>") "<cpu><numa><cell id='0' "
							     "memory='8388608'/><cell id='1' "
							     "memory='1048576'/>"
							     "</numa></cpu>",
		     FULL_OF_TMPFS POOL, 9 * GIB, 9 * GIB),
	       CHECK_PASS, NULL);
}

/* What processes have in a node is not free, what it holds of files is. */
static void test_nodes(void)
{
	static const char text[] =
		FULL_OF_TMPFS "Node 1 MemTotal: 16777216 kB\nNode 1 MemFree: 1048576 kB\nNode 1 "
			      "Active(file): 524288 kB\nNode 1 Inactive(file): 524288 kB\nNode 1 "
			      "FilePages: 12582912 kB\nNode 1 Shmem: 11534336 kB\n";
	struct room room = parse(text);
	g_assert_cmpuint(room.nodes[1].available_bytes, ==, 2 * GIB);
	g_assert_cmpuint(room.nodes[0].available_bytes, ==, 0);
}

/* The script runs here, and its text is understood. */
static void test_here(void)
{
	g_autoptr(GError) error = NULL;
	struct room room;
	struct host_address *address = host_address_parse(NULL, &error);
	g_assert_no_error(error);
	g_assert_true(room_ask(NULL, address, &room));
	g_assert_cmpuint(room.total_bytes, >, 64 * MIB);
	g_assert_cmpuint(room.available_bytes, >, 0);
	g_assert_cmpuint(room.available_bytes, <=, room.total_bytes);
	g_assert_cmpuint(room.file_bytes, >, 0);
	host_address_free(address);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/room/available", test_available);
	g_test_add_func("/room/nonsense", test_nonsense);
	g_test_add_func("/room/judged", test_judged);
	g_test_add_func("/room/pages", test_pages);
	g_test_add_func("/room/nodes", test_nodes);
	g_test_add_func("/room/here", test_here);
	return g_test_run();
}
