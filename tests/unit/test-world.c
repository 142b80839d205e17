/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan holds fast: each recorded thing is changed once, and the change is named. */
#include "conductor/measure/preconditions.h"

#include "base/json.h"

#include <string.h>

static char name_here[] = "here", name_there[] = "there";

static const char vm[] =
	"<domain type='kvm'><memory unit='KiB'>131072</memory><vcpu current='1'>2</vcpu><devices>"
	"<disk type='file'><source file='/a.qcow2'/></disk><disk type='block'><source "
	"dev='/dev/b'/>"
	"</disk><disk type='network'><source name='pool/c'/></disk><disk type='volume'><source "
	"pool='p' volume='d'/></disk><interface type='network'><mac address='52:54:00:00:00:01'/>"
	"<source network='net'/></interface><interface type='bridge'><mac "
	"address='52:54:00:00:00:02'/><source bridge='br0'/></interface><interface type='direct'>"
	"<mac address='52:54:00:00:00:03'/><source dev='eth0'/></interface></devices></domain>";

static JsonObject *describe_changed(const char *from, const char *to)
{
	g_autoptr(GString) text = g_string_new(vm);
	struct host source = { .name = name_here,
			       .uuid = name_here,
			       .qemu_version = 7002000,
			       .libvirt_version = 9000000 };
	struct host destination = { .name = name_there,
				    .uuid = name_there,
				    .qemu_version = 8002000,
				    .libvirt_version = 10000000 };
	char uuid[] = "6f6a3f0e-0000-4000-8000-000000000001";
	struct move_report report = { .vm_uuid = uuid };
	struct move move = { .hosts = { &source, &destination }, .report = &report };
	if (from)
		g_assert_cmpuint(g_string_replace(text, from, to, 1), ==, 1);
	move.live_xml = text->str;
	return preconditions_describe(&move);
}

/* Nothing is recorded as empty, or a change of it could not be seen. */
static void test_recorded(void)
{
	g_autoptr(JsonObject) preconditions = describe_changed(NULL, NULL);
	g_autoptr(GList) names = json_object_get_members(preconditions);
	for (GList *name = names; name; name = name->next)
		g_assert_cmpstr(json_get_string(preconditions, name->data, ""), !=, "");
	g_assert_cmpuint(g_list_length(names), ==, 13);
	g_assert_cmpstr(json_get_string(preconditions, "memory", ""), ==, "131072");
	g_assert_cmpstr(json_get_string(preconditions, "disks", ""), ==,
			"/a.qcow2, /dev/b, pool/c, d");
	g_assert_true(preconditions_compare(preconditions, preconditions, NULL));
}

static void expect_change(JsonObject *now, const char *words)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(JsonObject) before = describe_changed(NULL, NULL);
	g_assert_false(preconditions_compare(before, now, &error));
	g_autofree char *what = error_what(error);
	if (!strstr(what, words))
		g_error("“%s” does not name %s", what, words);
}

static void test_vm(void)
{
	static const struct {
		const char *from, *to, *words;
	} rows[] = {
		{ "131072", "262144", "memory" },
		{ ">2<", ">3<", "processors" },
		{ "current='1'", "current='2'", "processors" },
		{ "/a.qcow2", "/b.qcow2", "disks" },
		{ "/dev/b", "/dev/c", "disks" },
		{ "pool/c", "pool/d", "disks" },
		{ "volume='d'", "volume='e'", "disks" },
		{ "00:01", "00:09", "networks" },
		{ "'net'", "'other'", "networks" },
		{ "br0", "br1", "networks" },
		{ "eth0", "eth1", "networks" },
		{ "<devices>", "<devices><tpm/>", "devices" },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(JsonObject) now = describe_changed(rows[i].from, rows[i].to);
		expect_change(now, rows[i].words);
	}
}

/* What is recorded beside the description: everything of it is compared. */
static void test_rest(void)
{
	static const char *const names[] = { "vm",
					     "state",
					     "source",
					     "destination",
					     "source-qemu",
					     "destination-qemu",
					     "source-libvirt",
					     "destination-libvirt" };
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autoptr(JsonObject) now = describe_changed(NULL, NULL);
		json_object_set_string_member(now, names[i], "another");
		expect_change(now, "another");
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/world/recorded", test_recorded);
	g_test_add_func("/world/vm", test_vm);
	g_test_add_func("/world/rest", test_rest);
	return g_test_run();
}
