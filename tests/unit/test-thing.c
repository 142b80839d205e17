/* SPDX-License-Identifier: Apache-2.0 */
/* Things of the host that a VM's description names: looked for at this machine, which stands in for a
 * destination that has next to nothing. And machine types that a destination does not know. */
#include "host/checks/checks.h"

#include <string.h>

static char name[] = "there";
static const struct check_options no_options;

/* NULL: nothing is refused. */
static void expect(void (*check)(struct check_context *), const char *inner, const char *what,
		   const char *next)
{
	g_autofree char *whole = g_strdup_printf(
		"<domain xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>%s</domain>", inner);
	struct host_address *address = host_address_parse(NULL, NULL);
	struct host there = { .name = name, .address = address };
	struct check_context context = { .destination = &there,
					 .options = &no_options,
					 .name = "vm",
					 .vm = xml_read(whole, NULL),
					 .findings = check_new_findings() };
	g_assert_nonnull(context.vm);
	check(&context);
	const struct check_finding *finding =
		context.findings->len > 0 ? context.findings->pdata[0] : NULL;
	if (what ? !finding || finding->result == CHECK_PASS || !strstr(finding->what, what)
		 : finding != NULL)
		g_error("%s: “%s”, expected “%s”", inner, finding ? finding->what : "(nothing)",
			what);
	if (next && (!finding->next || !strstr(finding->next, next)))
		g_error("%s: “%s”, expected “%s”", inner, finding->next, next);
	xml_free(context.vm);
	g_ptr_array_unref(context.findings);
	host_address_free(address);
}

#define DEVICE(text) "<devices>" text "</devices>"
#define NOWHERE "/nowhere/there"

static const struct {
	const char *vm, *what;
} rows[] = {
	{ "", NULL },
	{ DEVICE("<rng><backend model='random'>/dev/urandom</backend></rng>"), NULL },
	{ DEVICE("<rng><backend model='random'>/dev/hwrng9</backend></rng>"), "/dev/hwrng9" },
	/* a file is no device */
	{ DEVICE("<rng><backend model='random'>/etc/passwd</backend></rng>"), "/etc/passwd" },
	{ DEVICE("<rng><backend model='egd'><source mode='connect' path='" NOWHERE "'/></backend>"
		 "</rng>"),
	  NOWHERE },
	{ DEVICE("<interface type='vhostuser'><source type='unix' path='" NOWHERE
		 "' mode='client'/></interface>"),
	  "the socket of a vhost-user device" },
	{ DEVICE("<interface type='vhostuser'><source type='unix' path='" NOWHERE
		 "' mode='server'/></interface>"),
	  "the directory" },
	{ DEVICE("<interface type='vhostuser'><source type='unix' path='/tmp/x' mode='server'/>"
		 "</interface>"),
	  NULL },
	{ DEVICE("<disk type='vhostuser'><source type='unix' path='" NOWHERE "'/></disk>"),
	  "vhost-user" },
	{ DEVICE("<interface type='ethernet'><script path='" NOWHERE "'/></interface>"),
	  "the script of a network card" },
	{ DEVICE("<interface type='ethernet'><script path='/bin/true'/></interface>"), NULL },
	{ DEVICE("<interface type='ethernet'><target dev='tap77' managed='no'/></interface>"),
	  "tap77" },
	{ DEVICE("<interface type='ethernet'><target dev='lo' managed='no'/></interface>"), NULL },
	{ DEVICE("<interface type='ethernet'><target dev='tap77'/></interface>"), NULL },
	{ DEVICE("<interface type='user'><source dev='eth77'/></interface>"), "eth77" },
	{ DEVICE("<interface type='bridge'><backend vhost='" NOWHERE "'/></interface>"), NOWHERE },
	{ DEVICE("<interface type='bridge'><virtualport type='midonet'/></interface>"), "mm-ctl" },
	{ DEVICE("<interface type='direct'><virtualport type='802.1Qbg'/></interface>"),
	  "lldptool" },
	{ DEVICE("<graphics type='spice'><gl enable='yes' rendernode='/dev/dri/renderD999'/>"
		 "</graphics>"),
	  "renderD999" },
	{ DEVICE("<serial type='dev'><source path='/dev/ttyS999'/></serial>"), "ttyS999" },
	{ DEVICE("<serial type='unix'><source mode='connect' path='" NOWHERE "'/></serial>"),
	  "the socket of a serial line" },
	{ DEVICE("<serial type='unix'><source mode='bind' path='" NOWHERE "'/></serial>"),
	  "the directory of " NOWHERE },
	{ DEVICE("<channel type='unix'><source mode='bind' path='/var/lib/libvirt/qemu/channel/"
		 "target/domain-1-vm/x'/></channel>"),
	  NULL },
	{ DEVICE("<console type='pipe'><source path='" NOWHERE "'/></console>"), "the pipe" },
	{ DEVICE("<serial type='file'><source path='" NOWHERE "'/></serial>"), "a log" },
	{ DEVICE("<serial type='pty'><log file='" NOWHERE "'/></serial>"), "a log" },
	{ DEVICE("<serial type='file'><source path='/tmp/log'/></serial>"), NULL },
	{ DEVICE("<interface type='network'><rom file='" NOWHERE "'/></interface>"), "the ROM" },
	{ DEVICE("<interface type='network'><rom file='efi-virtio.rom'/></interface>"), NULL },
	{ DEVICE("<shmem name='x' role='master'><server path='" NOWHERE "'/></shmem>"),
	  "shared memory" },
	{ DEVICE("<graphics type='vnc'><listen type='socket' socket='" NOWHERE "'/></graphics>"),
	  "the socket of a display" },
	{ "<q:commandline><q:arg value='-fw_cfg'/><q:arg value='name=x,file=" NOWHERE
	  "'/></q:commandline>",
	  "QEMU's own argument" },
	{ "<q:commandline><q:arg value='memory-backend-file,mem-path=/dev/shm/x,size=1M'/>"
	  "</q:commandline>",
	  NULL },
	{ "<q:commandline><q:arg value='socket,path=" NOWHERE ",server=on'/></q:commandline>",
	  "the directory of" },
};

static void test_rows(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
		expect(check_things, rows[i].vm, rows[i].what, NULL);
}

/* Several things, one of them twice: each that is missing is named once. */
static void test_several(void)
{
	struct host_address *address = host_address_parse(NULL, NULL);
	struct host there = { .name = name, .address = address };
	struct check_context context = {
		.destination = &there,
		.options = &no_options,
		.name = "vm",
		.vm = xml_read(
			"<domain><devices><serial type='dev'><source path='/dev/a b'/></serial>"
			"<console type='dev'><source path='/dev/a b'/></console><rng><backend "
			"model='random'>/dev/random</backend></rng><serial type='dev'><source "
			"path='/dev/$(id)'/></serial></devices></domain>",
			NULL),
		.findings = check_new_findings()
	};
	check_things(&context);
	g_assert_cmpuint(context.findings->len, ==, 2);
	const struct check_finding *first = context.findings->pdata[0],
				   *second = context.findings->pdata[1];
	g_assert_nonnull(strstr(first->what, "/dev/a b"));
	g_assert_nonnull(strstr(second->what, "/dev/$(id)"));
	xml_free(context.vm);
	g_ptr_array_unref(context.findings);
	host_address_free(address);
}

/* ---- machine types ---- */

static const char machines[] =
	"<capabilities><guest><arch name='x86_64'><machine>pc-i440fx-2.4</machine><machine>"
	"pc-i440fx-9.1</machine><machine canonical='pc-q35-10.0'>q35</machine><machine>pc-q35-2.4"
	"</machine><machine>pc-q35-10.0</machine><machine>none</machine><machine>isapc</machine>"
	"</arch></guest></capabilities>";

static void expect_machine(const char *machine, unsigned long here_qemu, const char *what,
			   const char *next)
{
	struct host here = { .name = name, .qemu_version = here_qemu };
	struct host there = { .name = name, .qemu_version = 10000000 };
	g_autofree char *copy = g_strdup(machine);
	char arch[] = "x86_64";
	struct check_context context = { .source = &here,
					 .destination = &there,
					 .options = &no_options,
					 .name = "vm",
					 .machine = copy,
					 .arch = arch,
					 .destination_capabilities = xml_read(machines, NULL),
					 .findings = check_new_findings() };
	check_refuse_machine(&context);
	const struct check_finding *finding = context.findings->pdata[0];
	if (!strstr(finding->what, what) || !strstr(finding->next, next))
		g_error("%s: “%s” “%s”", machine, finding->what, finding->next);
	xml_free(context.destination_capabilities);
	g_ptr_array_unref(context.findings);
}

/* What is older than all that is there was dropped, what is newer comes with an update. */
static void test_machines(void)
{
	expect_machine("pc-i440fx-2.1", 7002000, "dropped it", "newer machine type");
	expect_machine("pc-q35-2.3", 7002000, "dropped it", "newer machine type");
	expect_machine("pc-q35-10.1", 10001000, "too old", "Update QEMU there");
	expect_machine("pc-q35-11.0", 11000000, "too old", "Update QEMU there");
	/* one in between is missing: it was dropped, or never there */
	expect_machine("pc-q35-9.2", 9002000, "dropped it", "newer machine type");
	expect_machine("pc-q35-rhel9.2.0", 8000000, "does not know it", "both hosts have");
	expect_machine("pc-q35-jammy", 6002000, "does not know it", "distribution");
	expect_machine("microvm", 7002000, "does not know it", "both hosts have");
	expect_machine("", 7002000, "does not know it", "both hosts have");
}

static void test_cid(void)
{
	struct host there = { .name = name };
	struct check_context context = { .destination = &there,
					 .name = "vm",
					 .findings = check_new_findings() };
	check_judge_cid(&context, 7, "other");
	const struct check_finding *finding = context.findings->pdata[0];
	g_assert_cmpint(finding->result, ==, CHECK_REFUSE);
	g_assert_nonnull(strstr(finding->what, "number 7, which the VM “other” has"));
	g_ptr_array_unref(context.findings);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/thing/rows", test_rows);
	g_test_add_func("/thing/several", test_several);
	g_test_add_func("/thing/machines", test_machines);
	g_test_add_func("/thing/cid", test_cid);
	return g_test_run();
}
