/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of a host, and ports that are taken there. See listener.h. */
#include "host/listener.h"

#include "base/i18n.h"

#include <arpa/inet.h>
#include <string.h>

#define ASK_MS 20000

/* A VM's QEMU has its name in its arguments. */
static const char script[] =
	"PATH=$PATH:/usr/sbin:/sbin\n"
	"ip -o addr 2>/dev/null | while read i d f a r; do echo \"address $a\"; done\n"
	"cat /proc/sys/net/ipv4/ip_nonlocal_bind 2>/dev/null | grep -q 1 && echo any-address 1\n"
	"ss -Htulnp 2>/dev/null\n"
	"for p in $(ss -Htulnp 2>/dev/null | sed -n 's/.*pid=\\([0-9]*\\),.*/\\1/p' | sort -u); do "
	"g=$(tr '\\0' '\\n' <\"/proc/$p/cmdline\" 2>/dev/null | "
	"sed -n 's/^guest=\\([^,]*\\).*/\\1/p' | head -n 1); [ \"$g\" ] && echo \"guest $p $g\"; "
	"done\n"
	"exit 0\n";

static void free_listener(gpointer data)
{
	struct listener *listener = data;
	g_free(listener->address);
	g_free(listener->name);
	g_free(listener);
}

/* Without brackets and interface: "[fe80::1]%eth0" is "fe80::1". */
static char *strip_address(const char *text, size_t length)
{
	g_autofree char *whole = g_strndup(text, length);
	char *at = *whole == '[' ? whole + 1 : whole;
	at[strcspn(at, "]%")] = 0;
	return g_strdup(at);
}

/* "users:(("qemu-system-x86",pid=123,fd=4))" */
static void take_user(struct listener *listener, const char *text)
{
	const char *name = strstr(text, "((\"");
	const char *pid = strstr(text, ",pid=");
	const char *end = name ? strchr(name + 3, '"') : NULL;
	if (end)
		listener->name = g_strndup(name + 3, (gsize) (end - name - 3));
	if (pid)
		listener->pid = (int) g_ascii_strtoll(pid + 5, NULL, 10);
}

/* "tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:..." */
static void take_listener(struct listeners *listeners, char **parts, unsigned count)
{
	const char *colon = count >= 5 ? strrchr(parts[4], ':') : NULL;
	int64_t port = colon ? g_ascii_strtoll(colon + 1, NULL, 10) : 0;
	if (port < 1 || port > 65535)
		return;
	struct listener *listener = g_new0(struct listener, 1);
	listener->udp = strcmp(parts[0], "udp") == 0;
	listener->port = (int) port;
	listener->address = strip_address(parts[4], (size_t) (colon - parts[4]));
	if (count >= 7)
		take_user(listener, parts[6]);
	g_ptr_array_add(listeners->taken, listener);
}

static void take_listener_line(struct listeners *listeners, char *line)
{
	char *parts[7];
	unsigned count = 0;
	char *rest = NULL;
	if (g_str_has_prefix(line, "guest ")) {
		char *name = strchr(line + 6, ' ');
		int64_t pid = g_ascii_strtoll(line + 6, NULL, 10);
		if (name && pid > 0 && pid <= G_MAXINT)
			g_hash_table_replace(listeners->guests, GINT_TO_POINTER((int) pid),
					     g_strdup(name + 1));
		return;
	}
	for (char *part = strtok_r(line, " \t", &rest); part && count < G_N_ELEMENTS(parts);
	     part = strtok_r(NULL, " \t", &rest))
		parts[count++] = part;
	if (count == 2 && strcmp(parts[0], "address") == 0)
		g_ptr_array_add(listeners->addresses, g_strndup(parts[1], strcspn(parts[1], "/")));
	else if (count == 2 && strcmp(parts[0], "any-address") == 0)
		listeners->any_address = true;
	else if (count > 0 && (strcmp(parts[0], "tcp") == 0 || strcmp(parts[0], "udp") == 0))
		take_listener(listeners, parts, count);
}

struct listeners *listeners_parse(const char *text)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", 100000);
	struct listeners *listeners = g_new0(struct listeners, 1);
	listeners->addresses = g_ptr_array_new_with_free_func(g_free);
	listeners->taken = g_ptr_array_new_with_free_func(free_listener);
	listeners->guests = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	for (char **line = lines; *line; line++)
		take_listener_line(listeners, *line);
	return listeners;
}

struct listeners *listeners_ask(const struct remote_shell *shell, const struct host_address *host)
{
	const char *const argv[] = { "sh", "-c", script, NULL };
	g_autofree char *output = NULL;
	if (!remote_run(shell, host, argv, ASK_MS, &output, NULL, NULL))
		return NULL;
	return listeners_parse(output);
}

void listeners_free(struct listeners *listeners)
{
	if (!listeners)
		return;
	g_ptr_array_unref(listeners->addresses);
	g_ptr_array_unref(listeners->taken);
	g_hash_table_unref(listeners->guests);
	g_free(listeners);
}

/* ---- asked ---- */

static bool is_all(const char *address)
{
	return !address || !*address || strcmp(address, "*") == 0;
}

/* The same address may be written in several ways. */
static bool are_equal(const char *one, const char *other)
{
	unsigned char a[16], b[16];
	for (size_t i = 0; i < 2; i++) {
		int family = i ? AF_INET6 : AF_INET;
		if (inet_pton(family, one, a) == 1)
			return inet_pton(family, other, b) == 1 && memcmp(a, b, i ? 16 : 4) == 0;
	}
	return strcmp(one, other) == 0;
}

bool listeners_have(const struct listeners *listeners, const char *address)
{
	if (is_all(address) || !g_hostname_is_ip_address(address) || listeners->any_address ||
	    listeners->addresses->len == 0 || g_str_has_prefix(address, "127.") ||
	    are_equal(address, "0.0.0.0") || are_equal(address, "::") || are_equal(address, "::1"))
		return true;
	for (unsigned i = 0; i < listeners->addresses->len; i++)
		if (are_equal(address, listeners->addresses->pdata[i]))
			return true;
	return false;
}

/* "0.0.0.0" is all of IPv4, "::" all of IPv6, "*" both. */
static bool do_meet(const char *one, const char *other)
{
	if (is_all(one) || is_all(other))
		return true;
	if ((strchr(one, ':') != NULL) != (strchr(other, ':') != NULL))
		return false;
	const char *all = strchr(one, ':') ? "::" : "0.0.0.0";
	return are_equal(one, all) || are_equal(other, all) || are_equal(one, other);
}

const struct listener *listeners_find(const struct listeners *listeners, bool udp,
				      const char *address, int port)
{
	for (unsigned i = 0; i < listeners->taken->len; i++) {
		const struct listener *listener = listeners->taken->pdata[i];
		if (listener->udp == udp && listener->port == port &&
		    do_meet(address, listener->address))
			return listener;
	}
	return NULL;
}

char *listeners_describe(const struct listeners *listeners, const struct listener *listener)
{
	const char *guest = g_hash_table_lookup(listeners->guests, GINT_TO_POINTER(listener->pid));
	if (guest)
		return g_strdup_printf(_("the VM “%s”"), guest);
	if (listener->name)
		return g_strdup_printf(_("the process %s (%d)"), listener->name, listener->pid);
	return g_strdup(_("another process"));
}
