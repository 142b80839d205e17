/* SPDX-License-Identifier: Apache-2.0 */
/* The doctor: one look over the shell, one over libvirt, then a table of questions. See doctor.h.
 */
#include "host/checks/doctor.h"

#include "base/i18n.h"
#include "host/machine.h"
#include "base/unit.h"
#include "host/room.h"
#include "base/version.h"

#include <stdlib.h>
#include <string.h>

/* Everything that is asked over the shell, in one go: "key value" lines, no line for what is not
 * there. It changes nothing. $@: the watari to ask. */
static const char look_script[] =
	"PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin\n"
	"say() { [ -n \"$2\" ] && printf '%s %s\\n' \"$1\" \"$2\"; }\n"
	"say uid \"$(id -u)\"\n"
	"say user \"$(id -un)\"\n"
	"say by \"$SUDO_USER\"\n"
	"say watari \"$(\"$@\" --version 2>/dev/null | head -n 1)\"\n"
	"for t in virt-ssh-helper nc socat; do command -v $t >/dev/null 2>&1 && say tool $t; done\n"
	"for s in virtqemud libvirt; do [ -S /run/libvirt/$s-sock ] && say socket $s; done\n"
	/* the modular daemon's settings count where it runs, the monolithic one's elsewhere */
	"c=/etc/libvirt/libvirtd.conf\n"
	"[ -S /run/libvirt/virtqemud-sock ] && c=/etc/libvirt/virtqemud.conf\n"
	"if [ -e $c ]; then say conf $c; if [ -r $c ]; then say conf-readable yes; "
	"sed -n 's/^[ \\t]*\\(keepalive_[a-z]*\\)[ \\t]*=[ \\t]*\\(-\\{0,1\\}[0-9]*\\).*/\\1 "
	"\\2/p' $c; fi; fi\n"
	"say userfaultfd \"$(cat /proc/sys/vm/unprivileged_userfaultfd 2>/dev/null)\"\n"
	"[ -e /dev/userfaultfd ] && say userfaultfd-device \"$(stat -c '%a %u %g' "
	"/dev/userfaultfd)\"\n"
	"say run-libvirt \"$(stat -c '%a %u %g' /run/libvirt 2>/dev/null)\"\n"
	"say apparmor \"$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)\"\n"
	"say selinux \"$(cat /sys/fs/selinux/enforce 2>/dev/null)\"\n"
	"for h in /usr/lib/libvirt/virt-aa-helper /usr/libexec/virt-aa-helper; do "
	"[ -e $h ] && say aa-helper \"$(grep -c 'tunnelmigrate\\.dest' $h)\"; done\n"
	"r=$(nft list ruleset 2>/dev/null) && say firewall "
	"\"$(printf '%s\n' \"$r\" | grep -c 'hook input.*policy drop')\"\n"
	"command -v firewall-cmd >/dev/null 2>&1 && say firewalld \"$(firewall-cmd --state "
	"2>/dev/null)\"\n"
	"exit 0\n";

#define SHELL_TIMEOUT_MS 30000

struct visit {
	const struct remote_shell *shell;
	const struct host_address *address;
	const char *name;  /* how the user named the host */
	GHashTable *facts; /* key: the last value told */
	GString *tools;
	struct host *host; /* NULL: libvirt does not answer */
	GPtrArray *findings;
};

static const char *fact(const struct visit *visit, const char *key)
{
	return g_hash_table_lookup(visit->facts, key);
}

static int64_t number_fact(const struct visit *visit, const char *key, int64_t fallback)
{
	const char *text = fact(visit, key);
	return text ? g_ascii_strtoll(text, NULL, 10) : fallback;
}

static void note_facts(struct visit *visit, char *output)
{
	for (char *line = strtok(output, "\n"); line; line = strtok(NULL, "\n")) {
		char *space = strchr(line, ' ');
		if (!space)
			continue;
		*space = 0;
		if (strcmp(line, "tool") == 0)
			g_string_append_printf(visit->tools, "%s ", space + 1);
		else
			g_hash_table_replace(visit->facts, g_strdup(line), g_strdup(space + 1));
	}
}

/* Watari passes over it, others do not. */
static void judge_noise(struct visit *visit, const char *noise)
{
	if (noise)
		check_add(
			visit->findings, "shell", CHECK_WARN,
			_("Let it print only where somebody sits (in ~/.bashrc: case $- in *i*) …; "
			  "esac); watari passes over it, but scp, rsync and virsh stumble."),
			_("the login shell of %s prints text when a command is run: “%s”"),
			visit->name, noise);
}

static void judge_shell(struct visit *visit)
{
	const char *by = fact(visit, "by");
	if (!visit->address->shell)
		return;
	if (by)
		check_add(visit->findings, "ssh", CHECK_PASS, NULL,
			  _("%s can be reached as %s, and %s is root there by sudo"), visit->name,
			  visit->address->shell, by);
	else
		check_add(visit->findings, "ssh", CHECK_PASS, NULL, _("%s can be reached as %s"),
			  visit->name, visit->address->shell);
}

static bool look_over_shell(struct visit *visit)
{
	static const char *const head[] = { "sh", "-c", look_script, "sh" };
	g_auto(GStrv) watari = remote_watari(visit->shell);
	g_autoptr(GStrvBuilder) words = g_strv_builder_new();
	for (size_t i = 0; i < G_N_ELEMENTS(head); i++)
		g_strv_builder_add(words, head[i]);
	g_strv_builder_addv(words, (const char **) (uintptr_t) watari);
	g_auto(GStrv) argv = g_strv_builder_end(words);
	g_autofree char *output = NULL, *noise = NULL;
	g_autoptr(GError) error = NULL;
	if (!remote_run_aloud(visit->shell, visit->address, (const char *const *) argv,
			      SHELL_TIMEOUT_MS, &output, &noise, NULL, &error)) {
		g_autofree char *what = error_what(error);
		check_add(visit->findings, "ssh", CHECK_REFUSE,
			  _("Set up a key so that “ssh -o BatchMode=yes HOST true” works, or name "
			    "another way with --rsh."),
			  _("%s: no command can be run there: %s"), visit->name, what);
		return false;
	}
	note_facts(visit, output);
	judge_shell(visit);
	judge_noise(visit, noise);
	return true;
}

/* ---- the questions, each with the shell's facts; those after libvirt may find no host ---- */

static void ask_libvirt(struct visit *visit)
{
	if (!visit->host)
		return; /* said already */
	g_autofree char *version = host_format_version(visit->host->libvirt_version);
	check_add(visit->findings, "libvirt", CHECK_PASS, NULL, _("libvirt %s, host “%s”, UUID %s"),
		  version, visit->host->name, visit->host->uuid);
}

static void ask_qemu(struct visit *visit)
{
	if (!visit->host)
		return;
	g_autofree char *version = host_format_version(visit->host->qemu_version);
	if (visit->host->qemu_version < 5000000)
		check_add(visit->findings, "qemu", CHECK_WARN, _("Update QEMU there if you can."),
			  _("QEMU %s is older than anything Watari is tested with"), version);
	else
		check_add(visit->findings, "qemu", CHECK_PASS, NULL,
			  _("QEMU %s, run as user %d, group %d"), version, visit->host->qemu_uid,
			  visit->host->qemu_gid);
}

/* How long all networks may be dark before libvirtd drops us and destroys the incoming VM. */
static void ask_keepalive(struct visit *visit)
{
	int64_t interval = number_fact(visit, "keepalive_interval", 5);
	int64_t count = number_fact(visit, "keepalive_count", 5);
	if (!visit->host)
		return; /* a file that lies there says nothing of a daemon that does not run */
	if (!fact(visit, "conf-readable"))
		check_add(visit->findings, "keepalive", CHECK_WARN,
			  _("Run it as root there to know."),
			  _("libvirt's keepalive setting (%s) cannot be read"),
			  fact(visit, "conf") ? fact(visit, "conf") : "libvirtd.conf");
	else if (interval <= 0)
		check_add(visit->findings, "keepalive", CHECK_WARN,
			  _("Remove keepalive_interval from libvirt's configuration there."),
			  _("libvirt's keepalive is off: a dead client of libvirt's is never "
			    "noticed"));
	else if (interval * (count + 1) < 15)
		check_add(visit->findings, "keepalive", CHECK_WARN,
			  _("Raise keepalive_interval or keepalive_count in libvirt's "
			    "configuration there."),
			  _("libvirt drops a silent client after %d s: a network that is dark for "
			    "longer ends a migration"),
			  (int) (interval * (count + 1)));
	else
		check_add(visit->findings, "keepalive", CHECK_PASS, NULL,
			  _("libvirt drops a silent client after %d s (keepalive %d s × %d)"),
			  (int) (interval * (count + 1)), (int) interval, (int) count + 1);
}

static void ask_watari(struct visit *visit)
{
	const char *version = fact(visit, "watari");
	const char *last = version ? strrchr(version, ' ') : NULL;
	if (!version)
		check_add(visit->findings, "watari", CHECK_REFUSE,
			  _("Install watari there, or say where it is with --remote-watari."),
			  _("there is no watari at %s"), visit->name);
	else if (strcmp(last ? last + 1 : version, watari_version) != 0)
		check_add(visit->findings, "watari", CHECK_REFUSE,
			  _("Install the same version on all hosts."),
			  _("%s has %s, here it is %s"), visit->name, version, watari_version);
	else
		check_add(visit->findings, "watari", CHECK_PASS, NULL, "%s", version);
}

/* May a process of UID and GID do what BIT (4 read, 2 write, 1 enter) says with "mode uid gid"? */
static bool may(const char *text, int uid, int gid, unsigned bit)
{
	char *end = NULL;
	unsigned mode = (unsigned) strtoul(text, &end, 8);
	int owner = (int) strtol(end, &end, 10), group = (int) strtol(end, &end, 10);
	if (uid == 0)
		return true;
	return mode >> (uid == owner ? 6 : gid == group ? 3 : 0) & bit;
}

/* Disks are read and made there as well, so that no part of the commands would do. */
static void refuse_rights(struct visit *visit)
{
	g_autofree char *next = g_strdup_printf(
		!visit->address->shell
			? _("Run it as root, or let sudo ask no password: a line “%s ALL=(root) "
			    "NOPASSWD: ALL” in /etc/sudoers.d/watari (visudo -f).")
			: _("Connect as root (root@HOST), or let sudo ask no password: a line “%s "
			    "ALL=(root) "
			    "NOPASSWD: ALL” in /etc/sudoers.d/watari (visudo -f) there."),
		fact(visit, "user") ? fact(visit, "user") : "USER");
	check_add(visit->findings, "sockets", CHECK_REFUSE, next,
		  _("watari would run there as an ordinary user and could not make sockets for "
		    "QEMU"));
}

static void ask_sockets(struct visit *visit)
{
	const char *directory = fact(visit, "run-libvirt");
	if (!directory)
		check_add(visit->findings, "sockets", CHECK_REFUSE, _("Is libvirt running there?"),
			  _("%s has no directory /run/libvirt, where the sockets are made"),
			  visit->name);
	else if (number_fact(visit, "uid", 0) != 0)
		refuse_rights(visit);
	else if (visit->host && visit->host->qemu_uid > 0 &&
		 !may(directory, visit->host->qemu_uid, visit->host->qemu_gid, 1))
		check_add(visit->findings, "sockets", CHECK_REFUSE,
			  _("Let it in: chmod o+x /run/libvirt."),
			  _("QEMU's user (%d) may not enter /run/libvirt at %s"),
			  visit->host->qemu_uid, visit->name);
	else
		check_add(visit->findings, "sockets", CHECK_PASS, NULL,
			  _("sockets for QEMU can be made in /run/libvirt"));
}

/* Only post-copy needs it. */
static void ask_userfaultfd(struct visit *visit)
{
	if (!visit->host)
		return; /* who QEMU's user is, libvirt knows */
	int uid = visit->host->qemu_uid, gid = visit->host->qemu_gid;
	const char *device = fact(visit, "userfaultfd-device");
	bool by_device = device && may(device, uid, gid, 2) && visit->host->qemu_version >= 8001000;
	if (uid == 0 || number_fact(visit, "userfaultfd", 0) == 1 || by_device)
		check_add(visit->findings, "userfaultfd", CHECK_PASS, NULL,
			  _("post-copy is possible"));
	else
		check_add(visit->findings, "userfaultfd", CHECK_WARN,
			  _("If you want post-copy: put vm.unprivileged_userfaultfd=1 into a file "
			    "of /etc/sysctl.d there, then sysctl --system."),
			  _("QEMU's user may not use userfaultfd at %s: post-copy is not possible, "
			    "everything else is"),
			  visit->name);
}

void doctor_judge_security(GPtrArray *findings, const char *model, bool helper_allows,
			   bool enforcing)
{
	bool apparmor = g_strcmp0(model, "apparmor") == 0,
	     selinux = g_strcmp0(model, "selinux") == 0;
	if (apparmor && !helper_allows)
		check_add(findings, "security", CHECK_WARN,
			  _("Allow it in /etc/apparmor.d/abstractions/libvirt-qemu: "
			    "/run/libvirt/watari/** rw,"),
			  _("AppArmor is on, and libvirt's helper there does not allow the "
			    "incoming socket (/run/libvirt/**/*.tunnelmigrate.dest.VM)"));
	else if (selinux)
		check_add(
			findings, "security", CHECK_WARN,
			_("Try “watari rehearse” first; what was refused there is shown by "
			  "ausearch -m avc -ts recent."),
			enforcing
				? _("SELinux is enforcing: Watari gives its sockets no label, and "
				    "moves between such hosts are untried")
				: _("SELinux is permissive: moves between such hosts are untried"));
	else
		check_add(findings, "security", CHECK_PASS, NULL,
			  apparmor ? _("AppArmor is on; libvirt's helper there allows the incoming "
				       "socket")
				   : _("libvirt confines QEMU with neither AppArmor nor SELinux"));
}

static void ask_security(struct visit *visit)
{
	if (visit->host) /* only libvirt knows */
		doctor_judge_security(visit->findings, visit->host->security_model,
				      number_fact(visit, "aa-helper", 0) != 0,
				      number_fact(visit, "selinux", 0) != 0);
}

static void ask_ports(struct visit *visit)
{
	bool firewalld = g_strcmp0(fact(visit, "firewalld"), "running") == 0;
	if (firewalld || number_fact(visit, "firewall", 0) > 0)
		check_add(visit->findings, "ports", CHECK_WARN,
			  firewalld
				  ? _("Open a range for the other hosts (firewall-cmd --permanent "
				      "--add-port=49152-49215/tcp, then firewall-cmd --reload) and "
				      "give --ports 49152-49215; without it the link goes through "
				      "ssh, slower.")
				  : _("Open a range for the other hosts and give it with --ports "
				      "A-B; without it the link goes through ssh, slower."),
			  _("a firewall at %s drops what is not allowed"), visit->name);
	else if (!fact(visit, "firewall"))
		check_add(visit->findings, "ports", CHECK_WARN,
			  _("If the link is refused, open a range of ports for the other hosts and "
			    "give it with --ports A-B; else it goes through ssh, slower."),
			  _("whether a firewall at %s drops connections cannot be seen (nft is not "
			    "there, or not permitted)"),
			  visit->name);
	else
		check_add(visit->findings, "ports", CHECK_PASS, NULL,
			  _("nft shows no rules that drop all incoming connections"));
}

static void ask_memory(struct visit *visit)
{
	if (!visit->host)
		return;
	struct room room;
	bool asked = room_ask(visit->shell, visit->address, &room);
	g_autofree char *text = unit_format_bytes(
		asked ? room.available_bytes : virNodeGetFreeMemory(visit->host->connection));
	check_add(visit->findings, "memory", CHECK_PASS, NULL,
		  asked ? _("%s of memory are available for VMs") : _("%s of memory are free"),
		  text);
}

/* Over ssh something must lead to libvirt's socket. */
static void ask_tools(struct visit *visit)
{
	if (visit->address->shell && visit->tools->len == 0)
		check_add(visit->findings, "libvirt", CHECK_REFUSE,
			  _("Install libvirt's virt-ssh-helper there (part of libvirt-daemon), or "
			    "netcat (netcat-openbsd, nmap-ncat)."),
			  _("%s has no virt-ssh-helper, nc or socat to reach libvirt with"),
			  visit->name);
}

static void (*const questions[])(struct visit *) = {
	ask_tools,   ask_libvirt,     ask_qemu,     ask_keepalive, ask_watari,
	ask_sockets, ask_userfaultfd, ask_security, ask_ports,     ask_memory,
};

static void open_libvirt(struct visit *visit, struct guard *guard)
{
	g_autoptr(GError) error = NULL;
	visit->host = host_open_guarded(guard, GUARD_SOURCE, visit->shell, visit->address, &error);
	if (visit->host)
		return;
	g_autofree char *what = error_what(error), *next = error_next(error);
	check_add(visit->findings, "libvirt", CHECK_REFUSE, next, "%s", what);
}

/* What libvirt cannot tell apart it does not migrate between. What is known of VISIT's host stays in OTHERS. */
static void compare_doctors_machines(struct visit *visit, GPtrArray *others)
{
	if (!visit->host)
		return;
	machine_read(visit->shell, visit->host);
	for (guint i = 0; i < others->len; i++) {
		const struct host *other = others->pdata[i];
		if (machine_compare(visit->host, other) == MACHINE_TWINS)
			check_add(visit->findings, "same-host", CHECK_REFUSE, _(MACHINE_TWINS_CURE),
				  _(MACHINE_TWINS_WORDS), other->name, visit->host->name,
				  other->uuid);
	}
	struct host *known = g_new0(struct host, 1);
	known->name = g_strdup(visit->host->name);
	known->uuid = g_strdup(visit->host->uuid);
	known->machine = g_strdup(visit->host->machine);
	known->instance = g_strdup(visit->host->instance);
	g_ptr_array_add(others, known);
}

GPtrArray *doctor_new_others(void)
{
	return g_ptr_array_new_with_free_func((GDestroyNotify) (void (*)(void)) host_free);
}

GPtrArray *doctor_run(const struct remote_shell *shell, const struct host_address *address,
		      GPtrArray *others, GError **error)
{
	struct guard *guard = guard_new(error);
	if (!guard)
		return NULL;
	struct visit visit = {
		.shell = shell,
		.address = address,
		.name = address->shell ? address->shell : g_get_host_name(),
		.facts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free),
		.tools = g_string_new(NULL),
		.findings = check_new_findings(),
	};
	if (look_over_shell(&visit)) {
		open_libvirt(&visit, guard);
		for (unsigned i = 0; i < G_N_ELEMENTS(questions); i++)
			questions[i](&visit);
		compare_doctors_machines(&visit, others);
	}
	host_free(visit.host);
	guard_free(guard);
	g_hash_table_unref(visit.facts);
	g_string_free(visit.tools, TRUE);
	return visit.findings;
}
