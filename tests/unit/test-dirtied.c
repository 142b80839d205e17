/* SPDX-License-Identifier: Apache-2.0 */
/* Of which VM QEMU may be asked to count the pages it writes: of an emulated one it would crash. */
#include "conductor/measure/dirty_rate.h"

enum { LIBVIRT = 9000000, QEMU = 7002000 };

static bool may_ask(const char *type, const char *inside, unsigned long libvirt, unsigned long qemu)
{
	g_autofree char *text = g_strdup_printf(
		"<domain type='%s' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
		"<memory>131072</memory>%s</domain>",
		type, inside);
	struct xml *vm = xml_read(text, NULL);
	g_assert_nonnull(vm);
	bool may = dirty_rate_may_ask(vm, libvirt, qemu);
	xml_free(vm);
	return may;
}

static const char plain[] = "<devices><disk type='file'/><interface type='bridge'/></devices>";

static void test_kvm_only(void)
{
	static const char *const others[] = { "qemu", "hvf", "xen", "lxc", "kqemu", "KVM", "" };
	g_assert_true(may_ask("kvm", plain, LIBVIRT, QEMU));
	for (size_t i = 0; i < G_N_ELEMENTS(others); i++)
		g_assert_false(may_ask(others[i], plain, LIBVIRT, QEMU));
	struct xml *untyped = xml_read("<domain/>", NULL);
	g_assert_false(dirty_rate_may_ask(untyped, LIBVIRT, QEMU));
	xml_free(untyped);
}

static void test_versions(void)
{
	g_assert_true(may_ask("kvm", plain, 8001000, 6002000));
	g_assert_false(may_ask("kvm", plain, 8000000, QEMU));
	g_assert_false(may_ask("kvm", plain, LIBVIRT, 6001050));
	g_assert_false(may_ask("kvm", plain, 0, 0));
}

/* Type kvm, and yet not known to be KVM or QEMU alone. */
static void test_foreign(void)
{
	static const char *const parts[] = {
		"<qemu:commandline><qemu:arg value='-M'/></qemu:commandline>",
		"<devices><hostdev mode='subsystem' type='pci'/></devices>",
		"<devices><filesystem type='mount'/></devices>",
		"<devices><interface type='bridge'/><interface type='vhostuser'/></devices>",
		"<devices><interface type='hostdev'/></devices>",
		"<devices><interface type='vdpa'/></devices>",
		"<devices><disk type='vhostuser'/></devices>",
		"<devices><video><driver name='vhostuser'/></video></devices>",
	};
	for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
		g_test_message("%s", parts[i]);
		g_assert_false(may_ask("kvm", parts[i], LIBVIRT, QEMU));
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/dirtied/kvm-only", test_kvm_only);
	g_test_add_func("/dirtied/versions", test_versions);
	g_test_add_func("/dirtied/foreign", test_foreign);
	return g_test_run();
}
