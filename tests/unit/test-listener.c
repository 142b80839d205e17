/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and ports at a host, and what a VM wants to have of them. */
#include "host/checks/checks.h"

#include <string.h>

/* As ip and ss print them. */
static const char text[] =
	"address 127.0.0.1/8\naddress ::1/128\naddress 10.20.0.12/24\naddress fd00:20::12/64\n"
	"tcp   LISTEN 0      128          0.0.0.0:22        0.0.0.0:*    "
	"users:((\"sshd\",pid=9,fd=3))\n"
	"tcp   LISTEN 0      1            0.0.0.0:5905      0.0.0.0:*    "
	"users:((\"qemu-system-x86\",pid=77,fd=20))\n"
	"tcp   LISTEN 0      1          127.0.0.1:4555      0.0.0.0:*\n"
	"tcp   LISTEN 0      1                  *:8080            *:*\n"
	"tcp   LISTEN 0      1               [::]:6000         [::]:*\n"
	"udp   UNCONN 0      0      127.0.0.53%lo:53        0.0.0.0:*    "
	"users:((\"x\",pid=2,fd=1))\n"
	"tcp LISTEN 0 0 broken\nudp\ntcp LISTEN 0 0 1.2.3.4:99999 x\nguest x y\nguest\naddress\n"
	"guest 77 other vm\n";

static bool is_taken(const struct listeners *listeners, bool udp, const char *address, int port)
{
	return listeners_find(listeners, udp, address, port) != NULL;
}

static void test_taken(void)
{
	struct listeners *there = listeners_parse(text);
	g_assert_true(is_taken(there, false, "0.0.0.0", 22));
	g_assert_true(is_taken(there, false, "127.0.0.1", 5905));
	g_assert_true(is_taken(there, false, NULL, 4555));
	g_assert_true(is_taken(there, false, "0.0.0.0", 4555));
	g_assert_false(is_taken(there, false, "10.20.0.12", 4555));
	g_assert_true(is_taken(there, false, "10.20.0.12", 8080));
	g_assert_true(is_taken(there, false, "::1", 8080));
	g_assert_true(is_taken(there, false, "::1", 6000));
	g_assert_false(is_taken(there, false, "127.0.0.1", 6000));
	g_assert_true(is_taken(there, true, "127.0.0.53", 53));
	g_assert_false(is_taken(there, false, "127.0.0.53", 53));
	g_autofree char *vm = listeners_describe(there, listeners_find(there, false, "", 5905));
	g_assert_cmpstr(vm, ==, "the VM “other vm”");
	g_autofree char *sshd = listeners_describe(there, listeners_find(there, false, "", 22));
	g_assert_cmpstr(sshd, ==, "the process sshd (9)");
	listeners_free(there);
}

static void test_addresses(void)
{
	static const char *const good[] = { NULL,         "",    "127.0.0.9",       "0.0.0.0", "::",
					    "10.20.0.12", "::1", "fd00:0020:0::12", "a.name" };
	static const char *const bad[] = { "10.20.0.11", "fd00:20::11", "192.0.2.1" };
	struct listeners *there = listeners_parse(text), *nothing = listeners_parse("");
	for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
		g_assert_true(listeners_have(there, good[i]));
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_assert_false(listeners_have(there, bad[i]));
		g_assert_true(listeners_have(nothing, bad[i]));
	}
	there->any_address = true;
	g_assert_true(listeners_have(there, bad[0]));
	listeners_free(there);
	listeners_free(nothing);
}

/* ---- what the check says ---- */

#define VNC(attributes, listen) "<graphics type='vnc' " attributes ">" listen "</graphics>"
#define ON(address) "<listen type='address' address='" address "'/>"
#define SERIAL(kind, source) "<serial type='" kind "'><source " source "/></serial>"

/* NULL: nothing is found. */
static const struct {
	const char *devices, *what;
} rows[] = {
	{ "", NULL },
	{ VNC("port='5905' autoport='yes'", ON("127.0.0.1")), NULL },
	{ VNC("port='5905' autoport='no'", ON("127.0.0.1")),
	  "the display of “vm” listens on port 5905, which the VM “other vm” has at there" },
	{ VNC("port='5906' autoport='no'", ON("0.0.0.0")), NULL },
	{ VNC("port='5906' autoport='yes'", ON("10.20.0.11")),
	  "the display of “vm” listens on 10.20.0.11, and there does not have that address" },
	{ VNC("port='5906' autoport='yes'", ON("10.20.0.12")), NULL },
	{ VNC("port='5906' autoport='yes' websocket='8080'", ON("10.20.0.12")), "websocket" },
	{ "<graphics type='spice' port='5900' tlsPort='6000' autoport='no'>" ON("::") "</graphics>",
	  "port 6000, which another process" },
	{ "<graphics type='sdl'/>", NULL },
	{ VNC("port='5905' autoport='no'", "<listen type='socket' socket='/x'/>"), NULL },
	{ SERIAL("tcp", "mode='bind' host='127.0.0.1' service='4555'"), "port 4555" },
	{ SERIAL("tcp", "mode='bind' host='10.20.0.11' service='4556'"), "10.20.0.11" },
	{ SERIAL("tcp", "mode='connect' host='10.20.0.11' service='4555'"), NULL },
	{ SERIAL("udp", "mode='bind' host='127.0.0.53' service='53'"), "port 53" },
	{ SERIAL("udp", "mode='bind' host='127.0.0.1' service='4555'"), NULL },
	{ SERIAL("unix", "mode='bind' path='/x'"), NULL },
	{ "<console type='tcp'><source mode='bind' host='0.0.0.0' service='22'/></console>",
	  "the process sshd" },
	{ "<rng><backend type='tcp'><source mode='bind' host='' service='22'/></backend></rng>",
	  "port 22" },
	{ "<interface type='server'><source address='10.20.0.11' port='1'/></interface>",
	  "a network card" },
	{ "<interface type='user'><portForward proto='tcp' address='0.0.0.0'><range start='20' "
	  "end='23'/></portForward></interface>",
	  "a forwarded port of “vm” listens on port 22" },
	{ "<interface type='user'><portForward proto='tcp'><range start='20' end='23' "
	  "exclude='yes'/></portForward></interface>",
	  NULL },
};

static GPtrArray *judge(const char *vm, struct listeners *listeners)
{
	static char name[] = "there";
	struct host there = { .name = name };
	struct check_context context = { .destination = &there,
					 .name = "vm",
					 .vm = xml_read(vm, NULL),
					 .findings = check_new_findings() };
	g_assert_nonnull(context.vm);
	check_judge_sockets(&context, listeners);
	xml_free(context.vm);
	return context.findings;
}

static void expect(const char *vm, const char *what)
{
	bool fixed = strstr(vm, "portForward") || strstr(vm, "commandline");
	struct listeners *there = listeners_parse(text);
	g_autoptr(GPtrArray) findings = judge(vm, there);
	const struct check_finding *finding = findings->pdata[0];
	g_assert_cmpuint(findings->len, ==, 1);
	if (what ? finding->result != CHECK_REFUSE || !strstr(finding->what, what)
		 : finding->result != CHECK_PASS)
		g_error("%s: “%s”, expected “%s”", vm, finding->what, what);
	/* what can be named anew is, by its option */
	g_assert_true(!what || fixed == !strstr(finding->next, "--listen "));
	listeners_free(there);
}

static void test_rows(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *vm =
			g_strdup_printf("<domain><devices>%s</devices></domain>", rows[i].devices);
		expect(vm, rows[i].what);
	}
}

/* QEMU's own arguments. */
static void test_arguments(void)
{
	static const struct {
		const char *value, *what;
	} values[] = {
		{ "user,id=n,hostfwd=tcp::22-:22", "a forwarded port of “vm” listens on port 22" },
		{ "user,id=n,hostfwd=tcp:127.0.0.1:2222-:22", NULL },
		{ "user,hostfwd=udp:127.0.0.53:53-:53", "port 53" },
		{ "tcp:127.0.0.1:4555,server=on,wait=off", "port 4555" },
		{ "tcp:127.0.0.1:4555", NULL },
		{ "user,hostfwd=tcp:10.20.0.11:1-:2", "10.20.0.11" },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(values); i++) {
		g_autofree char *vm = g_strdup_printf(
			"<domain xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>"
			"<q:commandline><q:arg value='-x'/><q:arg value='%s'/></q:commandline>"
			"</domain>",
			values[i].value);
		expect(vm, values[i].what);
	}
}

static void test_unknown(void)
{
	g_autoptr(GPtrArray) findings = judge(
		"<domain><devices>" VNC("port='1' autoport='no'", "") "</devices></domain>", NULL);
	g_assert_cmpint(((struct check_finding *) findings->pdata[0])->result, ==, CHECK_WARN);
	g_autoptr(GPtrArray) none = judge("<domain/>", NULL);
	g_assert_cmpint(((struct check_finding *) none->pdata[0])->result, ==, CHECK_PASS);
}

/* The script runs here, and its text is understood. */
static void test_here(void)
{
	g_autoptr(GError) error = NULL;
	struct host_address *address = host_address_parse(NULL, &error);
	struct listeners *here = listeners_ask(NULL, address);
	g_assert_nonnull(here);
	g_assert_cmpuint(here->addresses->len, >, 0);
	g_assert_false(listeners_have(here, "203.0.113.77"));
	listeners_free(here);
	host_address_free(address);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/listener/taken", test_taken);
	g_test_add_func("/listener/addresses", test_addresses);
	g_test_add_func("/listener/rows", test_rows);
	g_test_add_func("/listener/arguments", test_arguments);
	g_test_add_func("/listener/unknown", test_unknown);
	g_test_add_func("/listener/here", test_here);
	return g_test_run();
}
