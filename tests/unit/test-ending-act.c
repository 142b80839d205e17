/* SPDX-License-Identifier: Apache-2.0 */
/* What the rules of the endings say is carried out or refused, whichever host is gone: never a crash, and nothing that
 * only both hosts could make safe. The hosts are two of libvirt's own test driver, in this process. */
#include "conductor/settle/carry_out.h"
#include "conductor/through/through.h"

#include <glib/gstdio.h>
#include <libvirt/virterror.h>
#include <string.h>

#define UUID "6695eb01-f6a4-8304-79aa-97f2502e193f"

static const char node_text[] = "<node><domain type='test'><name>vm</name><uuid>" UUID "</uuid>"
				"<memory>8192</memory><vcpu>1</vcpu><os><type>hvm</type></os>"
				"</domain></node>";

/* One move, its two hosts, and a journal of its own. */
struct scene {
	char *directory;
	struct move_request request;
	struct move_observer observer;
	struct move_report report;
	struct move move;
	struct host hosts[MOVE_SIDES];
	struct ending ending;
};

static void fill(struct scene *scene)
{
	struct move *move = &scene->move;
	g_autofree char *program = g_build_filename(scene->directory, "watari", NULL);
	g_assert_true(g_file_set_contents(program, "#!/bin/sh\necho {}\n", -1, NULL));
	g_chmod(program, 0755);
	move->shell.watari = g_intern_string(program);
	move->request = &scene->request;
	move->observer = &scene->observer;
	move->report = &scene->report;
	move_report_init(&scene->report);
	scene->report.vm_uuid = g_strdup(UUID);
	scene->report.vm_name = g_strdup("vm");
	scene->ending.uuid = UUID;
	scene->ending.name = "vm";
	scene->ending.undefine_source = true;
	for (int side = 0; side < MOVE_SIDES; side++)
		scene->ending.addresses[side] = move->addresses[side] =
			host_address_parse(NULL, NULL);
}

static struct scene *scene_new(void)
{
	struct scene *scene = g_new0(struct scene, 1);
	scene->directory = g_dir_make_tmp("watari-ending-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(scene->directory, "node.xml", NULL);
	g_autofree char *uri = g_strdup_printf("test://%s", path);
	g_assert_true(g_file_set_contents(path, node_text, -1, NULL));
	fill(scene);
	for (int side = 0; side < MOVE_SIDES; side++) {
		scene->hosts[side].address = scene->move.addresses[side];
		scene->hosts[side].connection = virConnectOpen(uri);
		g_assert_nonnull(scene->hosts[side].connection);
		scene->ending.hosts[side] = &scene->hosts[side];
		scene->ending.borrowed[side] = &scene->hosts[side];
	}
	return scene;
}

static void scene_free(struct scene *scene)
{
	for (int side = 0; side < MOVE_SIDES; side++) {
		virConnectClose(scene->hosts[side].connection);
		host_address_free(scene->move.addresses[side]);
	}
	through_free(scene->move.through);
	journal_close(scene->move.journal);
	move_report_clear(&scene->report);
	g_autofree char *command = g_strdup_printf("rm -rf %s", scene->directory);
	g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
	g_free(scene->directory);
	g_free(scene);
}

static virDomainPtr find(struct scene *scene, enum move_side side)
{
	return virDomainLookupByUUIDString(scene->hosts[side].connection, UUID);
}

/* Running, stopped by a person, or (ABSENT) neither there nor known. */
static void set_state(struct scene *scene, enum move_side side, enum host_vm_state state)
{
	virDomainPtr domain = find(scene, side);
	g_assert_nonnull(domain);
	if (state == HOST_VM_PAUSED)
		g_assert_cmpint(virDomainSuspend(domain), ==, 0);
	if (state == HOST_VM_ABSENT || state == HOST_VM_OFF)
		g_assert_cmpint(virDomainDestroy(domain), ==, 0);
	if (state == HOST_VM_ABSENT)
		g_assert_cmpint(virDomainUndefine(domain), ==, 0);
	virDomainFree(domain);
}

static enum host_vm_state state_of(struct scene *scene, enum move_side side)
{
	struct host_vm vm;
	g_assert_true(host_vm_ask(&scene->hosts[side], UUID, &vm, NULL));
	return vm.state;
}

static struct ending_sight look(struct scene *scene)
{
	struct ending_sight seen = { .ran = ENDING_RAN_NEVER };
	for (int side = 0; side < MOVE_SIDES; side++)
		if (scene->ending.hosts[side])
			seen.known[side] =
				host_vm_ask(scene->ending.hosts[side], UUID, &seen.vms[side], NULL);
	return seen;
}

static void lose(struct scene *scene, enum move_side side)
{
	scene->ending.hosts[side] = scene->ending.borrowed[side] = NULL;
}

static void begin_through(struct scene *scene, enum ending_through stage)
{
	struct move *move = &scene->move;
	g_autofree char *state = g_build_filename(scene->directory, "state", NULL);
	move->journal = journal_open(scene->directory, NULL);
	g_assert_nonnull(move->journal);
	move->through = through_new(state);
	move->through->persist = true;
	move->through->stage = stage;
	scene->ending.state = move->through->path;
}

/* ---- every rule, with either host gone ---- */

static const struct ending_rule *rule_at(size_t table, size_t index)
{
	static const struct ending_rule *(*const tables[])(
		size_t index) = { ending_rule_at, ending_rule_at_offline, ending_rule_at_through };
	return table < G_N_ELEMENTS(tables) ? tables[table](index) : NULL;
}

/* The action, and what may be done with the destination (the source) gone. */
static bool needs(enum ending_action action, enum move_side side)
{
	if (action == ENDING_NOTHING)
		return false;
	return side == MOVE_SOURCE || action != ENDING_RESUME_SOURCE_ALONE;
}

static void act_without(const struct ending_rule *rule, unsigned gone, bool through)
{
	struct scene *scene = scene_new();
	g_autoptr(GError) error = NULL;
	if (through)
		begin_through(scene, THROUGH_LEFT);
	set_state(scene, MOVE_SOURCE, HOST_VM_PAUSED);
	for (int side = 0; side < MOVE_SIDES; side++)
		if (gone & 1U << side)
			lose(scene, side);
	struct ending_sight seen = look(scene);
	bool needed = false;
	for (int side = 0; side < MOVE_SIDES; side++)
		needed |= gone & 1U << side && needs(rule->action, side);
	/* with the definition that is made there first */
	needed |= through && rule->outcome == MOVE_MIGRATED && gone & 2;
	bool good = carry_out_ending(&scene->move, &scene->ending, &seen, rule, &error);
	if (needed) {
		g_assert_false(good);
		g_assert_nonnull(error);
		g_assert_cmpint(error->code, ==, WATARI_ERROR_ATTENTION);
	}
	g_assert_true(good || error);
	if (good && ending_resumes_source(rule->action))
		g_assert_cmpint(state_of(scene, MOVE_SOURCE), ==, HOST_VM_RUNNING);
	/* nothing is ended beside a host that is gone */
	for (int side = 0; side < MOVE_SIDES && needed; side++)
		g_assert_cmpint(state_of(scene, side), !=, HOST_VM_OFF);
	scene_free(scene);
}

static void test_gone(void)
{
	size_t rules = 0;
	bool seen[ENDING_ACTION_LAST] = { false };
	for (size_t table = 0; rule_at(table, 0); table++)
		for (size_t i = 0; rule_at(table, i); i++, rules++) {
			const struct ending_rule *rule = rule_at(table, i);
			seen[rule->action] = true;
			for (unsigned gone = 1; gone < 4; gone++)
				act_without(rule, gone, table == 2);
		}
	g_assert_cmpuint(rules, >, 50);
	for (int action = 0; action < ENDING_ACTION_LAST; action++)
		g_assert_true(seen[action]);
}

/* Nothing was asked of the destination, so its silence holds nobody up. */
static void test_alone(void)
{
	struct scene *scene = scene_new();
	begin_through(scene, THROUGH_STOPPED);
	set_state(scene, MOVE_SOURCE, HOST_VM_PAUSED);
	lose(scene, MOVE_DESTINATION);
	struct ending_sight seen = look(scene);
	seen.through = THROUGH_STOPPED;
	const struct ending_rule *rule = ending_judge(&seen);
	g_assert_cmpstr(rule->name, ==, "source-stopped");
	g_assert_cmpint(rule->outcome, ==, MOVE_FAILED);
	g_assert_true(carry_out_ending(&scene->move, &scene->ending, &seen, rule, NULL));
	g_assert_cmpint(state_of(scene, MOVE_SOURCE), ==, HOST_VM_RUNNING);
	scene_free(scene);
}

/* ---- what has changed since it was seen ---- */

static void test_changed(void)
{
	for (int action = 0; action < ENDING_ACTION_LAST; action++) {
		struct scene *scene = scene_new();
		g_autoptr(GError) error = NULL;
		set_state(scene, MOVE_SOURCE, HOST_VM_PAUSED);
		struct ending_sight seen = look(scene);
		/* both went the other way meanwhile */
		seen.vms[MOVE_SOURCE].state = HOST_VM_RUNNING;
		seen.vms[MOVE_DESTINATION].state = HOST_VM_PAUSED;
		if (action == ENDING_NOTHING || action == ENDING_RESTORE_SOURCE)
			goto next;
		g_assert_false(ending_act(&scene->ending, action, &seen, &error));
		g_assert_cmpint(error->code, ==, WATARI_ERROR_ATTENTION);
		g_assert_cmpint(state_of(scene, MOVE_SOURCE), ==, HOST_VM_PAUSED);
		g_assert_cmpint(state_of(scene, MOVE_DESTINATION), ==, HOST_VM_RUNNING);
	next:
		scene_free(scene);
	}
}

/* ---- through a directory: written down first ---- */

static bool has_entered(struct scene *scene, const char *event)
{
	return journal_has_event(scene->move.journal, scene->report.id, event);
}

/* Restored, and paused: it goes on there only once it is written down that it may run. */
static void check_resumed(bool journal)
{
	struct scene *scene = scene_new();
	g_autoptr(GError) error = NULL;
	begin_through(scene, THROUGH_LEFT);
	struct journal_move row = { .id = scene->report.id,
				    .vm_name = scene->report.vm_name,
				    .vm_uuid = scene->report.vm_uuid,
				    .source = (char[]){ "" },
				    .destination = (char[]){ "" },
				    .phase = (char[]){ "restore" } };
	g_strlcpy(scene->report.id, "0123456789abcdef0123456789abcdef", sizeof scene->report.id);
	g_assert_true(journal_begin(scene->move.journal, &row, NULL));
	struct journal *kept = scene->move.journal;
	if (!journal)
		scene->move.journal = NULL;
	set_state(scene, MOVE_SOURCE, HOST_VM_OFF);
	set_state(scene, MOVE_DESTINATION, HOST_VM_PAUSED);
	struct ending_sight seen = look(scene);
	seen.through = THROUGH_LEFT;
	const struct ending_rule *rule = ending_judge(&seen);
	g_assert_cmpint(rule->action, ==, ENDING_RESUME_DESTINATION);
	bool good = carry_out_ending(&scene->move, &scene->ending, &seen, rule, &error);
	scene->move.journal = kept;
	if (error)
		g_test_message("%s", error->message);
	g_assert_true(good == journal);
	g_assert_true(has_entered(scene, "through-resumed") == journal);
	g_assert_cmpint(state_of(scene, MOVE_DESTINATION), ==,
			journal ? HOST_VM_RUNNING : HOST_VM_PAUSED);
	g_assert_cmpint(state_of(scene, MOVE_SOURCE), ==, journal ? HOST_VM_ABSENT : HOST_VM_OFF);
	if (!journal)
		g_assert_cmpint(error->code, ==, WATARI_ERROR_ATTENTION);
	scene_free(scene);
}

static void test_resumed(void)
{
	check_resumed(true);
	check_resumed(false);
}

static void silence(void *data, virErrorPtr error)
{
}

int main(int argc, char **argv)
{
	/* a mover that is started is not this very program */
	if (argc > 1 && g_str_equal(argv[1], "mover"))
		return 1;
	g_test_init(&argc, &argv, NULL);
	virSetErrorFunc(NULL, silence);
	g_test_add_func("/ending-act/gone", test_gone);
	g_test_add_func("/ending-act/alone", test_alone);
	g_test_add_func("/ending-act/changed", test_changed);
	g_test_add_func("/ending-act/resumed", test_resumed);
	return g_test_run();
}
