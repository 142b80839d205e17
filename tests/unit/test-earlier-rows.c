/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the journal found again: by the machines between which a move went, and by the process that drives
 * it. */
#include "journal/conductor_process.h"
#include "conductor/settle/move_hosts.h"

#include "base/json.h"
#include "base/process.h"
#include "host/machine.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define UUID_A "aaaaaaaa-0000-4000-8000-000000000001"
#define UUID_B "bbbbbbbb-0000-4000-8000-000000000002"

static char none[] = "";

/* The structs hold texts that they own; here nobody frees them. */
static char *own(const char *text)
{
	return (char *) (uintptr_t) text;
}

static void describe(struct host *source, struct host *destination, struct journal_move *row)
{
	struct move move = { .hosts = { source, destination } };
	g_autoptr(JsonObject) options = json_object_new();
	move_hosts_describe(&move, options);
	*row = (struct journal_move){ .source = none, .destination = g_strdup("hostb") };
	row->options = json_print_object(options);
}

static void clear(struct journal_move *row)
{
	g_free(row->options);
	g_free(row->destination);
}

static void test_hosts(void)
{
	struct host a = { .uuid = own(UUID_A), .machine = own("m-a") };
	struct host b = { .uuid = own(UUID_B), .machine = own("m-b") };
	static const struct {
		enum move_side side;
		const char *uuid, *machine, *text;
		bool same;
	} rows[] = {
		{ MOVE_SOURCE, UUID_A, "m-a", "another name", true },
		{ MOVE_SOURCE, UUID_B, "m-b", "", false }, /* the same text, another machine */
		{ MOVE_SOURCE, UUID_A, "m-c", "", false }, /* a clone of the board's number */
		{ MOVE_SOURCE, UUID_A, NULL, "x", true },
		{ MOVE_SOURCE, NULL, NULL, "", true }, /* it did not answer */
		{ MOVE_SOURCE, NULL, NULL, "hosta", false },
		{ MOVE_DESTINATION, UUID_B, "m-b", "192.0.2.1", true },
		{ MOVE_DESTINATION, UUID_A, "m-a", "hostb", false },
		{ MOVE_DESTINATION, NULL, NULL, "hostb", true },
	};
	struct journal_move row;
	describe(&a, &b, &row);
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct move_host host = { own(rows[i].uuid), own(rows[i].machine) };
		g_assert_true(move_hosts_match(&row, rows[i].side, &host, rows[i].text) ==
			      rows[i].same);
	}
	clear(&row);
}

/* What an earlier version wrote, or somebody else: only the texts are left. */
static void test_hosts_unknown(void)
{
	static const char *const options[] = {
		NULL,
		"",
		"{}",
		"[]",
		"{\"hosts\":1}",
		"{\"hosts\":{\"source\":[],\"destination\":{\"uuid\":7}}}",
	};
	struct move_host host = { own(UUID_A), own("m-a") };
	for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
		struct journal_move row = { .source = none,
					    .destination = own("hostb"),
					    .options = own(options[i]) };
		g_assert_true(move_hosts_match(&row, MOVE_DESTINATION, &host, "hostb"));
		g_assert_false(move_hosts_match(&row, MOVE_DESTINATION, &host, "hostc"));
	}
}

static void test_twins(void)
{
	static const struct {
		const char *uuids[2], *machines[2], *instances[2];
		enum machine_relation relation;
	} rows[] = {
		{ { UUID_A, UUID_B }, { "m", "m" }, { "i", "i" }, MACHINE_OTHER },
		{ { UUID_A, UUID_A }, { "m", "m" }, { "i", "i" }, MACHINE_SAME },
		{ { UUID_A, UUID_A }, { "m", "m" }, { "i", "j" }, MACHINE_TWINS },
		{ { UUID_A, UUID_A }, { "m", "n" }, { "i", NULL }, MACHINE_TWINS },
		{ { UUID_A, UUID_A }, { "m", NULL }, { NULL, NULL }, MACHINE_SAME },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct host hosts[2];
		for (int side = 0; side < 2; side++)
			hosts[side] = (struct host){ .uuid = own(rows[i].uuids[side]),
						     .machine = own(rows[i].machines[side]),
						     .instance = own(rows[i].instances[side]) };
		g_assert_cmpint(machine_compare(&hosts[0], &hosts[1]), ==, rows[i].relation);
	}
}

static char *describe_self(void)
{
	g_autoptr(JsonObject) options = json_object_new();
	conductor_describe(options);
	return json_print_object(options);
}

static void test_conductor(void)
{
	g_autofree char *own = describe_self();
	struct journal_move row = { .pid = getpid(), .options = own };
	g_assert_true(conductor_lives(&row));
	/* an end counts, whoever lives */
	row.outcome = none;
	g_assert_false(conductor_lives(&row));
	row.outcome = NULL;
	/* the number belongs to another process by now */
	row.pid = 1; /* not the parent, which may have begun in the same tick */
	g_assert_false(conductor_lives(&row));
	/* the machine was started anew: the number and the start come again */
	g_autofree char *boot = process_boot_id();
	g_auto(GStrv) parts = g_strsplit(own, boot, 2);
	g_autofree char *other = g_strjoinv("00000000-0000-0000-0000-000000000000", parts);
	row.pid = getpid();
	row.options = other;
	g_assert_cmpstr(own, !=, other);
	g_assert_false(conductor_lives(&row));
	/* an earlier version's: this program is not called watari */
	row.options = NULL;
	g_assert_false(conductor_lives(&row));
}

/* A process that has ended counts as dead before its parent has taken note. */
static void test_zombie(void)
{
	pid_t child = fork();
	if (child == 0)
		pause();
	int64_t start_ticks = process_start_ticks(child);
	g_assert_cmpint(start_ticks, >, 0);
	g_assert_true(process_lives(child, start_ticks));
	g_assert_false(process_lives(child, start_ticks + 1));
	kill(child, SIGKILL);
	siginfo_t info;
	g_assert_cmpint(waitid(P_PID, (id_t) child, &info, WEXITED | WNOWAIT), ==, 0);
	g_assert_false(process_lives(child, start_ticks));
	g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
	g_assert_cmpint(process_start_ticks(child), ==, 0);
	g_assert_false(process_lives(child, 0));
	g_assert_false(process_lives(0, 0));
	g_assert_false(process_lives(-1, 0));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/earlier-rows/hosts", test_hosts);
	g_test_add_func("/earlier-rows/hosts-unknown", test_hosts_unknown);
	g_test_add_func("/earlier-rows/twins", test_twins);
	g_test_add_func("/earlier-rows/conductor", test_conductor);
	g_test_add_func("/earlier-rows/zombie", test_zombie);
	return g_test_run();
}
