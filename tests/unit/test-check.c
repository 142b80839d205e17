/* SPDX-License-Identifier: Apache-2.0 */
/* The checks that need only documents: devices no lab has, CPUs, clocks, pinning, files. The others
 * are asked of real libvirts in tests/lab/test_checks.py. */
#include "host/checks/checks.h"
#include "host/checks/doctor.h"

#include <glib/gstdio.h>
#include <libvirt/virterror.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct host here = { .name = (char *) (uintptr_t) "here", .qemu_version = 7002000 };
static struct host there = { .name = (char *) (uintptr_t) "there", .qemu_version = 7002000 };
static const struct check_options no_options;

/* What the destination says it can make. */
#define OFFER(device, list, values) \
	"<" device "><enum name='" list "'>" values "</enum></" device ">"
static const char offered[] = "<domainCapabilities><devices>" OFFER(
	"graphics", "type", "<value>vnc</value><value>egl-headless</value>")
	OFFER("interface", "backendType", "<value>default</value>") OFFER(
		"memory", "model",
		"<value>dimm</value>") OFFER("video", "modelType",
					     "<value>vga</value><value>virtio</value>")
		OFFER("tpm", "backendModel", "<value>passthrough</value>") OFFER(
			"channel", "type",
			"") "</devices><memoryBacking><enum name='sourceType'>"
			    "<value>file</value></enum></memoryBacking><features><hyperv><enum "
			    "name='features'><value>relaxed</value></enum></hyperv></features>"
			    "</domainCapabilities>";

static struct xml *read_or_fail(const char *text)
{
	g_autoptr(GError) error = NULL;
	struct xml *xml = xml_read(text, &error);
	g_assert_no_error(error);
	return xml;
}

/* Run CHECK over documents. Returns the findings. */
static GPtrArray *ask(void (*check)(struct check_context *), const char *vm,
		      const char *capabilities_here, const char *capabilities_there)
{
	g_autofree char *whole = g_strdup_printf("<domain type='kvm'>%s</domain>", vm);
	struct check_context context = {
		.source = &here,
		.destination = &there,
		.options = &no_options,
		.name = "vm",
		.vm = read_or_fail(whole),
		.source_capabilities = read_or_fail(capabilities_here),
		.destination_capabilities = read_or_fail(capabilities_there),
		.destination_domain = read_or_fail(offered),
		.cpu_map = (const unsigned char *) "\x0b", /* 0, 1 and 3 are on, 2 is off */
		.cpu_count = 4,
		.findings = check_new_findings(),
	};
	check(&context);
	xml_free(context.vm);
	xml_free(context.source_capabilities);
	xml_free(context.destination_capabilities);
	xml_free(context.destination_domain);
	return context.findings;
}

#define NOTHING "<capabilities><host/></capabilities>"

struct row {
	void (*check)(struct check_context *);
	const char *vm, *here, *there;
	enum check_result worst;
	const char *text; /* a part of what the worst finding says */
};

#define DEVICE(text) "<devices>" text "</devices>"
#define CPU(model, features)                                                             \
	"<capabilities><host><cpu><model>" model "</model><vendor>AMD</vendor>" features \
	"</cpu></host></capabilities>"
#define TSC(more)                                                             \
	"<capabilities><host><cpu><counter name='tsc' frequency='2000' " more \
	"/></cpu></host></capabilities>"
#define MODEL(name) \
	"<capabilities><host><secmodel><model>" name "</model></secmodel></host></capabilities>"
#define NODES                                                                             \
	"<capabilities><host><topology><cells num='2'><cell id='0'><memory>1024</memory>" \
	"</cell><cell "                                                                   \
	"id='1'><memory>4096</memory></cell></cells></topology></host></capabilities>"
#define BOUND(mode, nodes, kib)                                                      \
	"<memory>" #kib "</memory><numatune><memory mode='" mode "' nodeset='" nodes \
	"'/></numatune>"
#define INVTSC "<cpu><feature policy='require' name='invtsc'/></cpu>"
#define PASSTHROUGH "<cpu mode='host-passthrough'/>"

static const struct row rows[] = {
	{ check_host_devices, DEVICE(""), NOTHING, NOTHING, CHECK_PASS, NULL },
	{ check_host_devices, DEVICE("<hostdev mode='subsystem' type='pci'/>"), NOTHING, NOTHING,
	  CHECK_REFUSE, "PCI device" },
	{ check_host_devices,
	  DEVICE("<hostdev mode='subsystem' type='pci'><teaming type='transient' "
		 "persistent='x'/></hostdev>"),
	  NOTHING, NOTHING, CHECK_PASS, NULL },
	{ check_host_devices,
	  DEVICE("<hostdev mode='subsystem' type='pci'><alias name='hostdev7'/></hostdev>"),
	  NOTHING, NOTHING, CHECK_REFUSE, "does not move with it: hostdev7" },
	{ check_host_devices, DEVICE("<hostdev mode='subsystem' type='usb'/>"), NOTHING, NOTHING,
	  CHECK_REFUSE, "USB device" },
	{ check_host_devices, DEVICE("<hostdev mode='subsystem' type='mdev'/>"), NOTHING, NOTHING,
	  CHECK_REFUSE, "mdev" },
	{ check_host_devices, DEVICE("<hostdev mode='subsystem' type='scsi'/>"), NOTHING, NOTHING,
	  CHECK_REFUSE, "SCSI" },
	{ check_host_devices, DEVICE("<interface type='hostdev'/>"), NOTHING, NOTHING, CHECK_REFUSE,
	  "network card of the host" },
	{ check_host_devices, DEVICE("<interface type='bridge'/>"), NOTHING, NOTHING, CHECK_PASS,
	  NULL },
	{ check_filesystems,
	  DEVICE("<filesystem type='mount'><driver type='virtiofs'/></filesystem>"), NOTHING,
	  NOTHING, CHECK_REFUSE, "virtiofs" },
	{ check_filesystems, DEVICE("<filesystem type='mount'><driver type='path'/></filesystem>"),
	  NOTHING, NOTHING, CHECK_REFUSE, "9p" },
	{ check_other_devices, DEVICE("<shmem name='x' role='master'/>"), NOTHING, NOTHING,
	  CHECK_PASS, NULL },
	{ check_other_devices, DEVICE("<shmem name='x'/>"), NOTHING, NOTHING, CHECK_REFUSE,
	  "shmem" },
	{ check_other_devices, DEVICE("<tpm><backend type='passthrough'/></tpm>"), NOTHING, NOTHING,
	  CHECK_REFUSE, "TPM" },
	{ check_other_devices, DEVICE("<tpm><backend type='emulator'/></tpm>"), NOTHING, NOTHING,
	  CHECK_PASS, NULL },
	{ check_other_devices, "<launchSecurity type='sev'/>", NOTHING, NOTHING, CHECK_REFUSE,
	  "SEV" },
	{ check_labels, "<seclabel type='static' model='selinux'/>", NOTHING, NOTHING, CHECK_REFUSE,
	  "selinux" },
	{ check_labels, "<seclabel type='static' model='dac'/>", NOTHING, NOTHING, CHECK_REFUSE,
	  "dac" },
	{ check_labels, "<seclabel type='static' model='dac'/>", NOTHING, MODEL("dac"), CHECK_PASS,
	  NULL },
	{ check_labels, "<seclabel type='dynamic' model='selinux'/>", NOTHING, NOTHING,
	  CHECK_REFUSE, "does not use" },
	{ check_labels, "<seclabel type='dynamic' model='selinux'/>", NOTHING, MODEL("selinux"),
	  CHECK_PASS, NULL },
	{ check_labels, "<seclabel type='static' model='selinux'><label>x:y</label></seclabel>",
	  NOTHING, MODEL("selinux"), CHECK_WARN, "x:y" },
	{ check_labels, "<seclabel type='dynamic' model='dac'/>", NOTHING, NOTHING, CHECK_PASS,
	  NULL },
	{ check_labels, "<seclabel type='none' model='none'/>", NOTHING, NOTHING, CHECK_PASS,
	  NULL },
	{ check_labels,
	  DEVICE("<disk><source file='x'><seclabel model='apparmor' "
		 "relabel='no'/></source></disk>"),
	  NOTHING, MODEL("dac"), CHECK_REFUSE, "apparmor" },
	{ check_placement, "<memory>1024</memory>", NOTHING, NODES, CHECK_PASS, NULL },
	{ check_placement, BOUND("strict", "0,3", 4096), NOTHING, NODES, CHECK_REFUSE,
	  "memory nodes that there does not have: 3" },
	{ check_placement, BOUND("preferred", "0,3", 4096), NOTHING, NODES, CHECK_REFUSE,
	  "does not have: 3" },
	{ check_placement,
	  "<memory>1</memory><numatune><memnode cellid='0' mode='preferred' "
	  "nodeset='1-2'/></numatune>",
	  NOTHING, NODES, CHECK_REFUSE, "does not have: 2" },
	{ check_placement,
	  "<memory>9</memory><cpu><numa><cell id='0' memory='2048'/></numa></cpu><numatune>"
	  "<memnode cellid='0' mode='strict' nodeset='0'/></numatune>",
	  NOTHING, NODES, CHECK_REFUSE, "needs 2.0 MiB" },
	{ check_placement, DEVICE("<memory><source><nodemask>5</nodemask></source></memory>"),
	  NOTHING, NODES, CHECK_REFUSE, "does not have: 5" },
	{ check_placement, "<vcpu cpuset='0-3,^2'>1</vcpu>", NOTHING, NODES, CHECK_PASS, NULL },
	{ check_placement, "<vcpu cpuset='0-3'>1</vcpu>", NOTHING, NODES, CHECK_REFUSE,
	  "processors that there does not have, or has switched off: 2" },
	{ check_placement,
	  "<cputune><vcpupin vcpu='0' cpuset='0'/><iothreadpin iothread='1' cpuset='7-8'/>"
	  "</cputune>",
	  NOTHING, NODES, CHECK_REFUSE, "7, 8" },
	{ check_placement, BOUND("strict", "0", 1025), NOTHING, NODES, CHECK_REFUSE,
	  "nodes 0, which have only 1.0 MiB" },
	{ check_placement, BOUND("strict", "0-1", 1025), NOTHING, NODES, CHECK_PASS, NULL },
	{ check_placement, BOUND("restrictive", "0-1,^1", 1025), NOTHING, NODES, CHECK_REFUSE,
	  "nodes 0-1,^1, which" },
	{ check_offered, DEVICE(""), NOTHING, NOTHING, CHECK_PASS, NULL },
	{ check_offered, DEVICE("<graphics type='vnc'/><video><model type='vga'/></video>"),
	  NOTHING, NOTHING, CHECK_PASS, NULL },
	{ check_offered, DEVICE("<graphics type='spice'/>"), NOTHING, NOTHING, CHECK_REFUSE,
	  "a display of the kind “spice”" },
	{ check_offered, DEVICE("<video><model type='qxl'/></video>"), NOTHING, NOTHING,
	  CHECK_REFUSE, "qxl" },
	{ check_offered, DEVICE("<tpm model='tpm-crb'><backend type='emulator'/></tpm>"), NOTHING,
	  NOTHING, CHECK_REFUSE, "a TPM with the backend “emulator”" },
	{ check_offered, DEVICE("<interface type='user'><backend type='passt'/></interface>"),
	  NOTHING, NOTHING, CHECK_REFUSE, "the backend “passt”" },
	{ check_offered, "<memoryBacking><source type='memfd'/></memoryBacking>", NOTHING, NOTHING,
	  CHECK_REFUSE, "memory of the kind “memfd”" },
	{ check_offered, "<memoryBacking><source type='file'/></memoryBacking>", NOTHING, NOTHING,
	  CHECK_PASS, NULL },
	{ check_offered, DEVICE("<memory model='virtio-mem'/>"), NOTHING, NOTHING, CHECK_REFUSE,
	  "virtio-mem" },
	{ check_offered,
	  "<features><hyperv><relaxed state='on'/><evmcs state='on'/></hyperv></features>", NOTHING,
	  NOTHING, CHECK_REFUSE, "the Hyper-V feature “evmcs”" },
	{ check_offered,
	  "<features><hyperv><relaxed state='on'/><evmcs state='off'/></hyperv></features>",
	  NOTHING, NOTHING, CHECK_PASS, NULL },
	/* no list of that at all: nothing is known */
	{ check_offered, DEVICE("<rng><backend model='random'/></rng>"), NOTHING, NOTHING,
	  CHECK_PASS, NULL },
	{ check_offered, DEVICE("<channel type='unix'/>"), NOTHING, NOTHING, CHECK_PASS, NULL },
	{ check_networks, DEVICE(""), NOTHING, NOTHING, CHECK_PASS, NULL },
	{ check_networks, DEVICE("<interface type='user'/>"), NOTHING, NOTHING, CHECK_WARN,
	  "(slirp): its other end is a process at here" },
	{ check_networks, DEVICE("<interface type='user'><backend type='passt'/></interface>"),
	  NOTHING, NOTHING, CHECK_WARN, "(passt)" },
	{ check_tsc, "", NOTHING, NOTHING, CHECK_PASS, NULL },
	{ check_tsc, INVTSC, NOTHING, NOTHING, CHECK_REFUSE, "invariant TSC" },
	{ check_tsc, INVTSC "<clock><timer name='tsc' frequency='2000'/></clock>", NOTHING, TSC(""),
	  CHECK_PASS, NULL },
	{ check_tsc, INVTSC "<clock><timer name='tsc' frequency='3000'/></clock>", NOTHING,
	  TSC("scaling='no'"), CHECK_REFUSE, "3000 Hz" },
	{ check_tsc, INVTSC "<clock><timer name='tsc' frequency='3000'/></clock>", NOTHING,
	  TSC("scaling='yes'"), CHECK_PASS, NULL },
	{ check_tsc, "<clock><timer name='tsc' frequency='3000'/></clock>", NOTHING, TSC(""),
	  CHECK_REFUSE, "3000 Hz" },
	{ check_tsc, "<clock><timer name='tsc' frequency='2000400000'/></clock>", NOTHING,
	  "<capabilities><host><cpu><counter name='tsc' frequency='2000000000'/></cpu></host>"
	  "</capabilities>",
	  CHECK_PASS, NULL },
	{ check_cpu, PASSTHROUGH, CPU("EPYC", "<feature name='a'/>"),
	  CPU("EPYC", "<feature name='a'/>"), CHECK_PASS, NULL },
	{ check_cpu, PASSTHROUGH, CPU("EPYC", ""), CPU("EPYC-Rome", ""), CHECK_REFUSE,
	  "EPYC-Rome" },
	{ check_cpu, PASSTHROUGH, CPU("EPYC", "<feature name='a'/><feature name='b'/>"),
	  CPU("EPYC", "<feature name='a'/>"), CHECK_REFUSE, "lacks: b" },
	{ check_cpu, PASSTHROUGH, CPU("EPYC", "<feature name='a'/>"),
	  CPU("EPYC", "<feature name='a'/><feature name='b'/>"), CHECK_WARN, "not surely equal" },
	{ check_cpu, "<cpu mode='maximum'/>", NOTHING, NOTHING, CHECK_PASS, NULL },
};

static void check_row(const struct row *row)
{
	g_autoptr(GPtrArray) findings = ask(row->check, row->vm, row->here, row->there);
	const struct check_finding *worst = NULL;
	for (unsigned i = 0; i < findings->len; i++) {
		const struct check_finding *finding = findings->pdata[i];
		worst = !worst || finding->result > worst->result ? finding : worst;
	}
	g_assert_nonnull(worst);
	if (worst->result != row->worst || (row->text && !strstr(worst->what, row->text)))
		g_error("%s: %s “%s”, expected %s “%s”", row->vm, check_result_name(worst->result),
			worst->what, check_result_name(row->worst), row->text);
	g_assert_true(worst->result != CHECK_REFUSE || worst->next);
}

static void test_rows(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		check_row(&rows[i]);
}

static enum check_result ask_tcg(char *virt_type, unsigned long version)
{
	struct host source = { .name = (char *) (uintptr_t) "here", .qemu_version = version };
	struct check_context context = { .source = &source,
					 .destination = &there,
					 .name = "vm",
					 .virt_type = virt_type,
					 .findings = check_new_findings() };
	check_tcg(&context);
	g_assert_cmpuint(context.findings->len, ==, 1);
	const struct check_finding *finding = context.findings->pdata[0];
	enum check_result result = finding->result;
	g_assert_true(result == CHECK_PASS || strstr(finding->next, "--verify-memory full"));
	g_ptr_array_unref(context.findings);
	return result;
}

/* Only the source's QEMU counts: it is the one that looks for dirty pages. */
static void test_tcg(void)
{
	char qemu[] = "qemu", kvm[] = "kvm";
	g_assert_cmpint(ask_tcg(qemu, 7002022), ==, CHECK_WARN);
	g_assert_cmpint(ask_tcg(qemu, 8002999), ==, CHECK_WARN);
	g_assert_cmpint(ask_tcg(qemu, 9000000), ==, CHECK_PASS);
	g_assert_cmpint(ask_tcg(kvm, 7002022), ==, CHECK_PASS);
}

static struct check_context new_context(const struct host *source, const struct host *destination)
{
	return (struct check_context){ .source = (struct host *) (uintptr_t) source,
				       .destination = (struct host *) (uintptr_t) destination,
				       .options = &no_options,
				       .name = "vm",
				       .findings = check_new_findings() };
}

/* The worst of all findings of CONTEXT, which is over after that. */
static enum check_result take_worst(struct check_context *context)
{
	enum check_result worst = CHECK_PASS;
	g_assert_cmpuint(context->findings->len, >, 0);
	for (unsigned i = 0; i < context->findings->len; i++) {
		const struct check_finding *finding = context->findings->pdata[i];
		worst = MAX(worst, finding->result);
		g_assert_true(finding->result != CHECK_REFUSE || finding->next);
	}
	g_ptr_array_unref(context->findings);
	return worst;
}

static enum check_result ask_versions(unsigned long libvirt, unsigned long qemu)
{
	static char name_here[] = "here", name_there[] = "there";
	const struct host source = { .name = name_here,
				     .libvirt_version = 9000000,
				     .qemu_version = 7002000 };
	const struct host destination = { .name = name_there,
					  .libvirt_version = libvirt,
					  .qemu_version = qemu };
	struct check_context context = new_context(&source, &destination);
	check_versions(&context);
	g_assert_cmpuint(context.findings->len, ==, 2);
	for (unsigned i = 0; i < 2; i++) {
		const struct check_finding *finding = context.findings->pdata[i];
		bool both = finding->what && strstr(finding->what, i ? "7.2.0" : "9.0.0") &&
			    strstr(finding->what, i ? "6.0.0" : "8.0.0");
		g_assert_true(finding->result == CHECK_PASS || (both && finding->next));
	}
	return take_worst(&context);
}

static void test_versions(void)
{
	g_assert_cmpint(ask_versions(9000000, 7002000), ==, CHECK_PASS);
	g_assert_cmpint(ask_versions(11003000, 10000000), ==, CHECK_PASS);
	g_assert_cmpint(ask_versions(8000000, 7002000), ==, CHECK_WARN);
	g_assert_cmpint(ask_versions(9000000, 6000000), ==, CHECK_WARN);
}

static enum check_result judge_locks(const char *at_source, const char *at_destination)
{
	struct check_context context = new_context(&here, &there);
	check_judge_locks(&context, at_source, at_destination);
	return take_worst(&context);
}

static void test_locks(void)
{
	g_assert_cmpint(judge_locks("none", "none"), ==, CHECK_PASS);
	g_assert_cmpint(judge_locks("sanlock", "sanlock"), ==, CHECK_PASS);
	g_assert_cmpint(judge_locks("lockd", "none"), ==, CHECK_WARN);
	g_assert_cmpint(judge_locks("none", "lockd"), ==, CHECK_WARN);
	g_assert_cmpint(judge_locks("sanlock", "none"), ==, CHECK_REFUSE);
	g_assert_cmpint(judge_locks("lockd", "sanlock"), ==, CHECK_REFUSE);
	g_assert_cmpint(judge_locks(NULL, "lockd"), ==, CHECK_PASS);
}

static enum check_result judge_network(const char *text)
{
	struct check_context context = new_context(&here, &there);
	struct xml *network = read_or_fail(text);
	check_judge_network(&context, "net", network);
	xml_free(network);
	return take_worst(&context);
}

static void test_networks(void)
{
	g_assert_cmpint(judge_network("<network><forward mode='bridge'/></network>"), ==,
			CHECK_PASS);
	g_assert_cmpint(judge_network("<network><forward mode='passthrough'/></network>"), ==,
			CHECK_PASS);
	g_assert_cmpint(judge_network("<network><forward mode='nat'/></network>"), ==, CHECK_WARN);
	g_assert_cmpint(judge_network("<network><forward/></network>"), ==, CHECK_WARN);
	g_assert_cmpint(judge_network("<network/>"), ==, CHECK_WARN);
}

#define MODELS(list) \
	"<domainCapabilities><cpu><mode name='custom'>" list "</mode></cpu></domainCapabilities>"
#define HAS(model) "<model usable='yes'>" model "</model>"
#define LACKS(model) "<model usable='no'>" model "</model>"

static void expect_advice(const char *baseline, const char *at_source, const char *at_destination,
			  const char *text)
{
	struct xml *cpu = baseline ? read_or_fail(baseline) : NULL;
	struct xml *mine = read_or_fail(at_source), *theirs = read_or_fail(at_destination);
	g_autofree char *advice = check_suggest_cpu(cpu, mine, theirs);
	if (!strstr(advice, text))
		g_error("“%s”, expected “%s”", advice, text);
	xml_free(cpu);
	xml_free(mine);
	xml_free(theirs);
}

/* The model itself where both have all of it, then with its exceptions, then a plain one. */
static void test_advice(void)
{
	static const char many[] =
		"<cpu><model>EPYC</model><feature policy='disable' name='a'/><feature "
		"policy='disable' name='b'/><feature policy='disable' name='c'/><feature "
		"policy='disable' name='d'/><feature policy='disable' name='e'/><feature "
		"policy='disable' name='f'/><feature policy='disable' name='g'/><feature "
		"policy='disable' name='h'/><feature policy='disable' name='i'/></cpu>";
	static const char few[] = "<cpu><model>EPYC</model><feature policy='require' name='x'/>"
				  "<feature policy='disable' name='a'/>"
				  "<feature policy='disable' name='b'/></cpu>";
	expect_advice(many, MODELS(HAS("EPYC")), MODELS(HAS("EPYC")), "“EPYC”, which both");
	expect_advice(few, MODELS(HAS("EPYC")), MODELS(LACKS("EPYC")), "“EPYC” without a, b");
	expect_advice(many, MODELS(LACKS("EPYC") HAS("kvm64")), MODELS(HAS("kvm64")),
		      "“kvm64”, which both");
	expect_advice(NULL, MODELS(HAS("kvm64")), MODELS(LACKS("kvm64")),
		      "hypervisor-cpu-baseline");
}

/* libvirt confines VMs there and not here; the other way round the VM's label says it. */
static void test_confinement(void)
{
	static char apparmor[] = "apparmor", name[] = "there";
	const struct host confined = { .name = name, .security_model = apparmor };
	struct xml *vm = read_or_fail("<domain/>");
	struct check_context context = new_context(&here, &confined);
	context.vm = vm;
	check_labels(&context);
	g_assert_cmpint(take_worst(&context), ==, CHECK_WARN);
	context = new_context(&confined, &confined);
	context.vm = vm;
	check_labels(&context);
	g_assert_cmpint(take_worst(&context), ==, CHECK_PASS);
	xml_free(vm);
}

static void test_verdict(void)
{
	g_autoptr(GPtrArray) findings = check_new_findings();
	g_autoptr(GError) error = NULL;
	check_add(findings, "a", CHECK_PASS, NULL, NULL);
	check_add(findings, "b", CHECK_WARN, NULL, "careful %d", 1);
	g_assert_true(check_verdict(findings, &error));
	check_add(findings, "c", CHECK_REFUSE, "do this", "no %s", "disk");
	check_add(findings, "d", CHECK_REFUSE, "do that", "no CPU");
	g_assert_false(check_verdict(findings, &error));
	g_assert_error(error, WATARI_ERROR, WATARI_ERROR_REFUSED);
	g_autofree char *what = error_what(error), *next = error_next(error);
	g_assert_cmpstr(what, ==, "no disk; no CPU");
	g_assert_cmpstr(next, ==, "do this");
}

static const struct check_finding *find_check(const GPtrArray *findings, const char *name)
{
	for (unsigned i = 0; i < findings->len; i++) {
		const struct check_finding *finding = findings->pdata[i];
		if (strcmp(finding->check, name) == 0)
			return finding;
	}
	g_error("no finding of %s", name);
}

/* A judgement is overruled by its whole name, and by nothing else; what keeps the VM safe is not. */
static void test_accept(void)
{
	static const char *const names[] = { "memory", "network:br0", "disk:vda", "cpu", NULL };
	g_autoptr(GPtrArray) findings = check_new_findings();
	g_autoptr(GError) error = NULL;
	check_add(findings, "memory", CHECK_REFUSE, "a", "too small");
	check_add(findings, "network:br0", CHECK_REFUSE, "b", "no br0");
	check_add(findings, "network:br1", CHECK_REFUSE, "b", "no br1");
	check_add(findings, "cpu", CHECK_WARN, NULL, "another");
	g_autofree char *all = check_suggest_accept(findings);
	g_assert_cmpstr(all, ==, "--accept memory --accept network:br0 --accept network:br1");
	check_add(findings, "disk:vda", CHECK_REFUSE, "c", "no disk");
	g_assert_null(check_suggest_accept(findings));
	g_auto(GStrv) unneeded = check_accept(findings, names);
	g_autofree char *words = g_strjoinv(" ", unneeded);
	g_assert_cmpstr(words, ==, "disk:vda cpu");
	g_assert_true(find_check(findings, "memory")->accepted);
	g_assert_cmpint(find_check(findings, "memory")->result, ==, CHECK_WARN);
	g_assert_cmpint(find_check(findings, "network:br1")->result, ==, CHECK_REFUSE);
	g_assert_cmpint(find_check(findings, "disk:vda")->result, ==, CHECK_REFUSE);
	g_assert_false(find_check(findings, "cpu")->accepted);
	g_assert_false(check_verdict(findings, &error));
	g_autofree char *what = error_what(error);
	g_assert_cmpstr(what, ==, "no br1; no disk");
}

/* Names that nobody could mean are found out before any host is asked. */
static void test_accept_names(void)
{
	static const struct {
		const char *name, *what;
	} bad[] = {
		{ "disk:vda", "the VM would lose its disk" },
		{ "same-host", "two ends" },
		{ "job", "two operations" },
		{ "memor", "there is no check “memor”" },
		{ "memory2", "there is no check" },
		{ "", "there is no check" },
		{ ":", "there is no check" },
	};
	static const char *const good[] = { "memory", "network:a:b", "cpu", "clock", NULL };
	g_assert_true(check_accept_names(good, NULL));
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		const char *const names[] = { "cpu", bad[i].name, NULL };
		g_autoptr(GError) error = NULL;
		g_assert_false(check_accept_names(names, &error));
		g_assert_error(error, WATARI_ERROR, WATARI_ERROR_USAGE);
		g_autofree char *what = error_what(error);
		g_assert_nonnull(strstr(what, bad[i].what));
	}
	g_auto(GStrv) listed = check_list_acceptable();
	g_assert_true(g_strv_contains((const char *const *) listed, "memory"));
	g_assert_false(g_strv_contains((const char *const *) listed, "disk"));
}

static void test_verdict_accept(void)
{
	g_autoptr(GPtrArray) findings = check_new_findings();
	g_autoptr(GError) error = NULL;
	check_add(findings, "memory", CHECK_REFUSE, "Make room.", "too small");
	g_assert_false(check_verdict(findings, &error));
	g_autofree char *next = error_next(error);
	g_assert_cmpstr(next, ==, "Make room. If you know better: --accept memory.");
}

static void test_xml(void)
{
	g_autoptr(GError) error = NULL;
	g_assert_null(xml_read("<a><b></a>", &error));
	g_assert_nonnull(error);
	struct xml *xml = read_or_fail("<a><n> 7 </n><x>a &amp; b</x></a>");
	g_assert_cmpuint(xml_number(xml, NULL, "n", 1), ==, 7);
	g_assert_cmpuint(xml_number(xml, NULL, "x", 1), ==, 1);
	g_autofree char *text = xml_string(xml, NULL, "x");
	g_assert_cmpstr(text, ==, "a & b");
	g_assert_null(xml_string(xml, NULL, "y"));
	xml_free(xml);
	/* no file of this machine may come in through an entity */
	xml = read_or_fail(
		"<!DOCTYPE a [<!ENTITY f SYSTEM 'file:///etc/hostname'>]><a><x>&f;</x></a>");
	g_autofree char *empty = xml_string(xml, NULL, "x");
	g_assert_cmpstr(empty, ==, "");
	xml_free(xml);
}

/* The names of files end as they end. */
static void test_xml_path(void)
{
	struct xml *xml = read_or_fail("<a><s file=' /x \n'/><k> /y </k></a>");
	g_autofree char *file = xml_string(xml, NULL, "s/@file"),
			*kernel = xml_path(xml, NULL, "k");
	g_assert_cmpstr(file, ==, " /x  "); /* a newline in an attribute is a blank in XML */
	g_assert_cmpstr(kernel, ==, " /y ");
	g_assert_null(xml_path(xml, NULL, "n"));
	xml_free(xml);
}

/* Asked for real, on this machine: a name may hold anything. */
static void test_missing(void)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *directory = g_dir_make_tmp("watari-check-XXXXXX", NULL);
	g_autofree char *odd = g_build_filename(directory, "a\n1 ", NULL);
	g_autofree char *gone = g_build_filename(directory, "b\n2\n", NULL);
	g_autoptr(GPtrArray) words = g_ptr_array_new();
	struct host_address *local = host_address_parse(NULL, NULL);
	struct host host = { .address = local };
	const struct check_options options = { 0 };
	struct check_context context = { .destination = &host, .options = &options };
	g_assert_true(g_file_set_contents(odd, "", 0, &error));
	g_ptr_array_add(words, odd);
	g_auto(GStrv) none = check_missing_there(&context, "-e", "", words);
	g_assert_cmpuint(g_strv_length(none), ==, 0);
	g_ptr_array_add(words, gone);
	g_auto(GStrv) missing = check_missing_there(&context, "-e", "", words);
	g_assert_cmpuint(g_strv_length(missing), ==, 1);
	g_assert_cmpstr(missing[0], ==, gone);
	g_unlink(odd);
	g_rmdir(directory);
	host_address_free(local);
}

/* Asked for real, on this machine, as a user that owns nothing. */
static void test_access(void)
{
	enum { NOBODY = 65534 };
	g_autofree char *setpriv = g_find_program_in_path("setpriv");
	if (getuid() != 0 || !setpriv) {
		g_test_skip("only root can be somebody else");
		return;
	}
	g_autofree char *top = g_dir_make_tmp("watari-check-XXXXXX", NULL);
	g_autofree char *closed = g_build_filename(top, "a \"b\n", NULL);
	g_autofree char *file = g_build_filename(closed, "d.qcow2", NULL);
	g_autofree char *gone = g_build_filename(top, "none", "d.qcow2", NULL);
	struct host_address *local = host_address_parse(NULL, NULL);
	g_assert_cmpint(chmod(top, 0755), ==, 0);
	g_assert_cmpint(g_mkdir(closed, 0700), ==, 0);
	g_assert_true(g_file_set_contents(file, "x", 1, NULL));
	g_assert_cmpint(chmod(file, 0600), ==, 0);
	static const char modes[] = "drR";
	for (const char *mode = modes; *mode; mode++) {
		g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
		g_ptr_array_add(words, g_strdup_printf("%c%s", *mode, gone));
		g_ptr_array_add(words, g_strdup_printf("%c%s", *mode, file));
		g_assert_cmpint(chmod(closed, 0700), ==, 0);
		g_autofree char *answer =
			check_ask_access(NULL, local, NOBODY, NOBODY, words, NULL);
		g_assert_cmpstr(answer, ==, "2 3\n");
		g_assert_cmpint(chmod(closed, 0711), ==, 0);
		g_autofree char *open = check_ask_access(NULL, local, NOBODY, NOBODY, words, NULL);
		g_assert_cmpstr(open, ==, *mode == 'R' ? "2 0\n" : "");
	}
	g_unlink(file);
	g_rmdir(closed);
	g_rmdir(top);
	host_address_free(local);
}

static void ignore_error(void *data, virErrorPtr error)
{
}

static void test_security(void)
{
	static const struct {
		const char *model;
		bool helper_allows, enforcing;
		enum check_result result;
		const char *what;
	} given[] = {
		{ NULL, false, false, CHECK_PASS, "neither AppArmor nor SELinux" },
		{ "none", false, false, CHECK_PASS, "neither AppArmor nor SELinux" },
		{ "apparmor", true, false, CHECK_PASS, "allows the incoming socket" },
		{ "apparmor", false, false, CHECK_WARN, "does not allow the incoming socket" },
		{ "selinux", false, true, CHECK_WARN, "SELinux is enforcing" },
		{ "selinux", true, false, CHECK_WARN, "SELinux is permissive" },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(given); i++) {
		g_autoptr(GPtrArray) findings = check_new_findings();
		doctor_judge_security(findings, given[i].model, given[i].helper_allows,
				      given[i].enforcing);
		const struct check_finding *finding = findings->pdata[0];
		g_assert_cmpuint(findings->len, ==, 1);
		g_assert_cmpint(finding->result, ==, given[i].result);
		g_assert_nonnull(strstr(finding->what, given[i].what));
		g_assert_true((finding->next != NULL) == (given[i].result == CHECK_WARN));
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	/* there is no host, and some checks ask one: they are told so, in silence */
	virInitialize();
	virSetErrorFunc(NULL, ignore_error);
	g_test_add_func("/check/rows", test_rows);
	g_test_add_func("/check/security", test_security);
	g_test_add_func("/check/tcg", test_tcg);
	g_test_add_func("/check/versions", test_versions);
	g_test_add_func("/check/locks", test_locks);
	g_test_add_func("/check/networks", test_networks);
	g_test_add_func("/check/advice", test_advice);
	g_test_add_func("/check/confinement", test_confinement);
	g_test_add_func("/check/verdict", test_verdict);
	g_test_add_func("/check/accept", test_accept);
	g_test_add_func("/check/accept-names", test_accept_names);
	g_test_add_func("/check/verdict-accept", test_verdict_accept);
	g_test_add_func("/check/xml", test_xml);
	g_test_add_func("/check/xml-path", test_xml_path);
	g_test_add_func("/check/missing", test_missing);
	g_test_add_func("/check/access", test_access);
	return g_test_run();
}
