/* SPDX-License-Identifier: Apache-2.0 */
/* Check of the addresses and ports that the VM's QEMU listens on: displays, serial lines, forwarded
 * ports. The destination must have the address, and nobody may have the port. */
#include "host/checks/checks.h"

#include "base/i18n.h"

#include <string.h>

#define FORWARDED N_("a forwarded port")
#define ARGUMENT N_("QEMU's own argument")

/* One of them. */
struct wanted {
	const char *check, *what; /* what: marked with N_() */
	bool udp;
	char *address; /* NULL: all */
	int port;      /* 0: any */
};

static void free_wanted(gpointer data)
{
	struct wanted *wanted = data;
	g_free(wanted->address);
	g_free(wanted);
}

/* A console may be a serial line once more. */
static bool is_known_socket(const GPtrArray *list, const struct wanted *wanted)
{
	for (unsigned i = 0; i < list->len; i++) {
		const struct wanted *known = list->pdata[i];
		if (known->udp == wanted->udp && known->port == wanted->port &&
		    g_strcmp0(known->address, wanted->address) == 0)
			return true;
	}
	return false;
}

static void want_socket(GPtrArray *list, const char *check, const char *what, bool udp,
			const char *address, int64_t port)
{
	struct wanted wanted = { check, what, udp, (char *) (uintptr_t) address, (int) port };
	if (port < 0 || port > 65535 || is_known_socket(list, &wanted))
		return;
	wanted.address = address && *address ? g_strdup(address) : NULL;
	g_ptr_array_add(list, g_memdup2(&wanted, sizeof(wanted)));
}

/* ---- displays ---- */

/* A port that libvirt chose is chosen anew there, but that of a websocket goes along. */
static void want_display(struct check_context *context, xmlNodePtr node, GPtrArray *list)
{
	static const struct {
		const char *path, *what;
		bool chosen; /* libvirt may choose it */
	} ports[] = {
		{ "@port", N_("the display"), true },
		{ "@tlsPort", N_("the display"), true },
		{ "@websocket", N_("the display's websocket"), false },
	};
	bool automatic = xml_has(context->vm, node, "self::*[@autoport='yes']");
	g_autofree char *address =
		xml_string(context->vm, node, "listen[@type='address']/@address");
	if (!address && xml_has(context->vm, node, "listen"))
		return; /* on a network's address, or a socket of libvirt's */
	want_socket(list, "graphics", N_("the display"), false, address, 0);
	for (size_t i = 0; i < G_N_ELEMENTS(ports); i++) {
		uint64_t port = xml_number(context->vm, node, ports[i].path, 0);
		if (port > 0 && !(automatic && ports[i].chosen))
			want_socket(list, "graphics", ports[i].what, false, address,
				    (int64_t) port);
	}
}

/* ---- whatever else listens ---- */

static const struct {
	const char *path, *address, *port, *what;
	bool udp;
} places[] = {
	{ "devices/*[@type!='udp']/source[@mode='bind'][@service] | "
	  "devices/*/backend[@type='tcp']/source[@mode='bind']",
	  "@host", "@service", N_("a serial line or channel"), false },
	{ "devices/*[@type='udp']/source[@mode='bind'] | "
	  "devices/*/backend[@type='udp']/source[@mode='bind']",
	  "@host", "@service", N_("a serial line or channel"), true },
	{ "devices/interface[@type='server']/source", "@address", "@port", N_("a network card"),
	  false },
	{ "devices/interface[@type='udp']/source/local", "@address", "@port", N_("a network card"),
	  true },
	{ "devices/interface/portForward[@proto='tcp']/range[not(@exclude='yes')]", "../@address",
	  "@start", FORWARDED, false },
	{ "devices/interface/portForward[@proto='udp']/range[not(@exclude='yes')]", "../@address",
	  "@start", FORWARDED, true },
};

static void want_places(struct check_context *context, GPtrArray *list)
{
	for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
		g_autoptr(GPtrArray) nodes = xml_find(context->vm, NULL, places[i].path);
		for (unsigned j = 0; j < nodes->len; j++) {
			xmlNodePtr node = nodes->pdata[j];
			g_autofree char *address = xml_string(context->vm, node, places[i].address);
			uint64_t first = xml_number(context->vm, node, places[i].port, 0);
			uint64_t last = MIN(xml_number(context->vm, node, "@end", first), 65535);
			for (uint64_t port = first; port > 0 && port <= last; port++)
				want_socket(list, "socket", places[i].what, places[i].udp, address,
					    (int64_t) port);
		}
	}
}

/* QEMU's own words in <qemu:commandline>: hostfwd=tcp:ADDRESS:PORT-..., tcp:ADDRESS:PORT,server. */
static void want_argument(const char *text, GPtrArray *list)
{
	static const char pattern[] = "(?:hostfwd=(tcp|udp)?:([^:,]*):(\\d+)-|"
				      "(?:^|=)(tcp|telnet|websocket):([^:,]*):(\\d+)(?=.*,server))";
	g_autoptr(GRegex) regex = g_regex_new(pattern, 0, 0, NULL);
	g_autoptr(GMatchInfo) match = NULL;
	for (g_regex_match(regex, text, 0, &match); g_match_info_matches(match);
	     g_match_info_next(match, NULL)) {
		g_autofree char *forward = g_match_info_fetch(match, 3);
		bool forwards = forward && *forward;
		g_autofree char *kind = g_match_info_fetch(match, forwards ? 1 : 4);
		g_autofree char *address = g_match_info_fetch(match, forwards ? 2 : 5);
		g_autofree char *port = g_match_info_fetch(match, forwards ? 3 : 6);
		want_socket(list, "socket", forwards ? FORWARDED : ARGUMENT,
			    g_strcmp0(kind, "udp") == 0, address, g_ascii_strtoll(port, NULL, 10));
	}
}

static GPtrArray *list_sockets(struct check_context *context)
{
	GPtrArray *list = g_ptr_array_new_with_free_func(free_wanted);
	g_autoptr(GPtrArray) displays = xml_find(
		context->vm, NULL, "devices/graphics[@type='vnc' or @type='spice' or @type='rdp']");
	g_autoptr(GPtrArray) arguments = xml_find(
		context->vm, NULL, "*[local-name()='commandline']/*[local-name()='arg']/@value");
	for (unsigned i = 0; i < displays->len; i++)
		want_display(context, displays->pdata[i], list);
	want_places(context, list);
	for (unsigned i = 0; i < arguments->len; i++) {
		g_autofree char *text = xml_string(context->vm, arguments->pdata[i], ".");
		want_argument(text ? text : "", list);
	}
	return list;
}

/* ---- judged ---- */

/* QEMU's own arguments and passt's ports stay as they are. */
static bool can_map(const struct wanted *wanted)
{
	return strcmp(wanted->what, FORWARDED) != 0 && strcmp(wanted->what, ARGUMENT) != 0;
}

static char *advise_address(const struct wanted *wanted)
{
	if (can_map(wanted))
		return g_strdup_printf(
			_("Let it listen on an address of the destination: --listen %s=ADDRESS."),
			wanted->address ? wanted->address : "");
	return g_strdup(_("Let it listen on an address that both hosts have, such as 0.0.0.0 or "
			  "127.0.0.1; that takes effect when the VM is started again."));
}

static char *advise_port(const struct wanted *wanted)
{
	if (can_map(wanted))
		return g_strdup_printf(_("Free that port there, or let it listen on another one: "
					 "--listen %d=PORT."),
				       wanted->port);
	return g_strdup(_("Free that port there, or give the VM another one; that takes effect "
			  "when it is started again."));
}

static void judge_socket(struct check_context *context, const struct listeners *there,
			 const struct wanted *wanted)
{
	const struct listener *taken =
		wanted->port > 0 ? listeners_find(there, wanted->udp, wanted->address, wanted->port)
				 : NULL;
	if (!listeners_have(there, wanted->address)) {
		g_autofree char *next = advise_address(wanted);
		check_add(context->findings, wanted->check, CHECK_REFUSE, next,
			  _("%s of “%s” listens on %s, and %s does not have that address"),
			  _(wanted->what), context->name, wanted->address,
			  context->destination->name);
	} else if (taken) {
		g_autofree char *who = listeners_describe(there, taken);
		g_autofree char *next = advise_port(wanted);
		check_add(context->findings, wanted->check, CHECK_REFUSE, next,
			  _("%s of “%s” listens on port %d, which %s has at %s"), _(wanted->what),
			  context->name, wanted->port, who, context->destination->name);
	}
}

/* The address that nothing more is known of goes before its ports: said once. */
static void judge_sockets(struct check_context *context, const struct listeners *there,
			  const GPtrArray *list)
{
	g_autoptr(GHashTable) said = g_hash_table_new(g_str_hash, g_str_equal);
	for (unsigned i = 0; i < list->len; i++) {
		const struct wanted *wanted = list->pdata[i];
		bool absent = !listeners_have(there, wanted->address);
		if (!absent || g_hash_table_add(said, wanted->address))
			judge_socket(context, there, wanted);
	}
}

void check_judge_sockets(struct check_context *context, const struct listeners *there)
{
	unsigned before = context->findings->len;
	g_autoptr(GPtrArray) list = list_sockets(context);
	if (there)
		judge_sockets(context, there, list);
	else if (list->len > 0)
		check_add(context->findings, "socket", CHECK_WARN, NULL,
			  _("whether %s has the addresses and ports that “%s” listens on could "
			    "not be asked over the shell"),
			  context->destination->name, context->name);
	if (context->findings->len == before)
		check_add(context->findings, "socket", CHECK_PASS, NULL, NULL);
}

/* Most VMs have a display whose port is chosen there: nothing need be asked for them. */
void check_sockets(struct check_context *context)
{
	g_autoptr(GPtrArray) list = list_sockets(context);
	struct listeners *there = list->len > 0 ? listeners_ask(context->options->shell,
								context->destination->address)
						: listeners_parse("");
	check_judge_sockets(context, there);
	listeners_free(there);
}
