/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of networks, bridges and network filters at the destination. A running VM's interface names
 * the network it came from and the bridge it got there; the destination looks for the network and
 * may use another bridge. */
#include "host/checks/checks.h"

#include "base/i18n.h"

#include <libvirt/virterror.h>
#include <string.h>

/* ---- bridges and cards ----
 * By name: libvirt cannot be relied on to list them, so the kernel is asked. */

struct link {
	char *name;
	bool bridge; /* a card will not do; bridges of Open vSwitch look like cards */
};

static void free_link(gpointer data)
{
	struct link *link = data;
	g_free(link->name);
	g_free(link);
}

static void add_link(GPtrArray *links, const char *name, bool bridge)
{
	for (unsigned i = 0; i < links->len; i++) {
		struct link *known = links->pdata[i];
		if (strcmp(known->name, name) == 0) {
			known->bridge = known->bridge || bridge;
			return;
		}
	}
	struct link *link = g_new0(struct link, 1);
	*link = (struct link){ g_strdup(name), bridge };
	g_ptr_array_add(links, link);
}

static void add_links(struct xml *xml, const char *path, bool bridge, GPtrArray *links)
{
	g_autoptr(GPtrArray) nodes = xml_find(xml, NULL, path);
	for (unsigned i = 0; i < nodes->len; i++) {
		xmlChar *name = xmlNodeGetContent(nodes->pdata[i]);
		if (*name)
			add_link(links, (const char *) name, bridge);
		xmlFree(name);
	}
}

/* One word for each name: absent, card or bridge, with "-down" behind it if it was not set up. */
static const char link_script[] =
	"for w; do d=/sys/class/net/$w; s=absent; [ -d \"$d\" ] && s=card; "
	"[ -d \"$d/bridge\" ] && s=bridge; "
	"[ $s != absent ] && read f <\"$d/flags\" && [ $((f & 1)) = 0 ] && s=$s-down; "
	"echo $s; done";

static char **ask_links(struct check_context *context, const GPtrArray *links)
{
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	g_autofree char *output = NULL;
	const char *const head[] = { "sh", "-c", link_script, "sh" };
	for (unsigned i = 0; i < G_N_ELEMENTS(head); i++)
		g_ptr_array_add(argv, (gpointer) (uintptr_t) head[i]);
	for (unsigned i = 0; i < links->len; i++)
		g_ptr_array_add(argv, ((struct link *) links->pdata[i])->name);
	g_ptr_array_add(argv, NULL);
	if (!remote_run(context->options->shell, context->destination->address,
			(const char *const *) argv->pdata, 20000, &output, NULL, NULL))
		return NULL;
	char **words = g_strsplit(g_strstrip(output), "\n", -1);
	if (g_strv_length(words) == links->len)
		return words;
	g_strfreev(words);
	return NULL;
}

static void judge_link_state(struct check_context *context, const struct link *link,
			     const char *said)
{
	const char *there = context->destination->name;
	g_autofree char *check = g_strdup_printf("network:%s", link->name);
	g_autofree char *up = g_strdup_printf(_("Set it up there: ip link set %s up."), link->name);
	g_autofree char *map = g_strdup_printf(
		_("Set up a bridge or card of that name there, or name the one that takes its "
		  "place: --network %s=NAME."),
		link->name);
	if (strcmp(said, "absent") == 0)
		check_add(context->findings, check, CHECK_REFUSE, map,
			  _("%s has no bridge or network card “%s”, which “%s” uses"), there,
			  link->name, context->name);
	else if (link->bridge && g_str_has_prefix(said, "card"))
		check_add(context->findings, check, CHECK_REFUSE, map,
			  _("“%s” uses the bridge “%s”, and at %s that is a network card"),
			  context->name, link->name, there);
	else if (g_str_has_suffix(said, "-down"))
		check_add(context->findings, check, CHECK_WARN, up,
			  _("“%s” is down at %s: “%s” would be without network there"), link->name,
			  there, context->name);
	else
		check_add(context->findings, check, CHECK_PASS, NULL, NULL);
}

static void check_links(struct check_context *context, const GPtrArray *links)
{
	if (links->len == 0)
		return;
	g_auto(GStrv) said = ask_links(context, links);
	if (!said)
		check_add(context->findings, "network", CHECK_WARN, NULL,
			  _("whether %s has the bridges of “%s” could not be asked over the shell"),
			  context->destination->name, context->name);
	for (unsigned i = 0; said && i < links->len; i++)
		judge_link_state(context, links->pdata[i], said[i]);
}

/* ---- networks inside a process ----
 * What slirp and passt translate is known to a process of the source only. */

static void check_user_network(struct check_context *context)
{
	if (xml_has(context->vm, NULL, "devices/interface[@type='user']"))
		check_add(context->findings, "network:user", CHECK_WARN,
			  _("If connections are to last, use a bridge that leads outside."),
			  _("“%s” has a user-mode network (%s): its other end is a process at %s, "
			    "and what is open through it breaks"),
			  context->name,
			  xml_has(context->vm, NULL,
				  "devices/interface[@type='user']/backend[@type='passt']")
				  ? "passt"
				  : "slirp",
			  context->source->name);
}

/* ---- libvirt's networks ---- */

/* A group that is not there is passed over by libvirt, and so are its VLAN and its limits. */
static void check_port_groups(struct check_context *context, const char *name, struct xml *network)
{
	g_autoptr(GPtrArray) cards =
		xml_find(context->vm, NULL, "devices/interface/source[@portgroup]");
	for (unsigned i = 0; i < cards->len; i++) {
		g_autofree char *of = xml_string(context->vm, cards->pdata[i], "@network");
		g_autofree char *group = xml_string(context->vm, cards->pdata[i], "@portgroup");
		g_autoptr(GPtrArray) groups = xml_find(network, NULL, "portgroup/@name");
		bool found = g_strcmp0(of, name) != 0;
		for (unsigned j = 0; j < groups->len && !found; j++) {
			g_autofree char *there = xml_string(network, groups->pdata[j], ".");
			found = g_strcmp0(there, group) == 0;
		}
		g_autofree char *check = g_strdup_printf("network:%s", name);
		if (!found)
			check_add(context->findings, check, CHECK_REFUSE,
				  _("Give the network there a port group of that name: virsh "
				    "net-edit."),
				  _("the network “%s” of %s has no port group “%s”, which “%s” "
				    "uses"),
				  name, context->destination->name, group, context->name);
	}
}

/* A network that libvirt makes itself ends at its host: the one of the same name at the other host
 * is another one. */
void check_judge_network(struct check_context *context, const char *name, struct xml *network)
{
	static const char *const outside[] = { "bridge",      "private", "vepa",
					       "passthrough", "hostdev", NULL };
	g_autofree char *check = g_strdup_printf("network:%s", name);
	g_autofree char *mode = xml_string(network, NULL, "forward/@mode");
	bool forward = xml_has(network, NULL, "forward");
	const char *kind = mode ? mode : forward ? "nat" : "isolated";
	if (g_strv_contains(outside, kind))
		check_add(context->findings, check, CHECK_PASS, NULL, NULL);
	else
		check_add(context->findings, check, CHECK_WARN,
			  _("If connections are to last, use a bridge that leads outside."),
			  _("the network “%s” ends at its host (%s): at %s it is another one, and "
			    "what “%s” has open through it breaks"),
			  name, kind, context->destination->name, context->name);
}

static void read_network(struct check_context *context, virNetworkPtr network, const char *name,
			 GPtrArray *links)
{
	char *text = virNetworkGetXMLDesc(network, 0);
	struct xml *xml = text ? xml_read(text, NULL) : NULL;
	free(text);
	if (!xml)
		return;
	check_judge_network(context, name, xml);
	check_port_groups(context, name, xml);
	if (xml_has(xml, NULL, "forward[@mode='bridge']")) {
		bool ovs = xml_has(xml, NULL, "virtualport[@type='openvswitch']");
		add_links(xml, "bridge/@name", !ovs, links);
		add_links(xml, "forward/@dev | forward/interface/@dev", false, links);
	}
	xml_free(xml);
}

static void check_one_network(struct check_context *context, const char *name, GPtrArray *links)
{
	virNetworkPtr network = virNetworkLookupByName(context->destination->connection, name);
	g_autofree char *check = g_strdup_printf("network:%s", name);
	g_autofree char *start = g_strdup_printf(_("Start it there: virsh net-start %s."), name);
	g_autofree char *map = g_strdup_printf(_("Define one of the same name there (virsh "
						 "net-define), or name the one that takes "
						 "its place: --network %s=NAME."),
					       name);
	if (network && virNetworkIsActive(network) == 1)
		read_network(context, network, name, links);
	else if (network)
		check_add(context->findings, check, CHECK_REFUSE, start,
			  _("the network “%s”, which “%s” uses, is not started at %s"), name,
			  context->name, context->destination->name);
	else
		check_add(context->findings, check, CHECK_REFUSE, map,
			  _("%s has no network “%s”, which “%s” uses"), context->destination->name,
			  name, context->name);
	if (network)
		virNetworkFree(network);
}

static void check_filter(struct check_context *context, const char *name)
{
	virNWFilterPtr filter = virNWFilterLookupByName(context->destination->connection, name);
	virErrorPtr last = virGetLastError();
	g_autofree char *check = g_strdup_printf("filter:%s", name);
	if (filter)
		check_add(context->findings, check, CHECK_PASS, NULL, NULL);
	else if (last && last->code == VIR_ERR_NO_NWFILTER)
		check_add(context->findings, check, CHECK_REFUSE,
			  _("Define one of the same name there: virsh nwfilter-dumpxml, virsh "
			    "nwfilter-define."),
			  _("libvirt at %s has no network filter “%s”, which “%s” uses"),
			  context->destination->name, name, context->name);
	else
		check_add_virt(context, check, CHECK_WARN, NULL,
			       _("the network filters of the destination's libvirt are not known"));
	if (filter)
		virNWFilterFree(filter);
}

static void for_each(struct check_context *context, const char *path, GPtrArray *links,
		     void (*check)(struct check_context *, const char *, GPtrArray *))
{
	g_autoptr(GHashTable) done = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_autoptr(GPtrArray) nodes = xml_find(context->vm, NULL, path);
	for (unsigned i = 0; i < nodes->len; i++) {
		xmlChar *name = xmlNodeGetContent(nodes->pdata[i]);
		if (g_hash_table_add(done, g_strdup((const char *) name)))
			check(context, (const char *) name, links);
		xmlFree(name);
	}
}

static void check_one_filter(struct check_context *context, const char *name, GPtrArray *links)
{
	check_filter(context, name);
}

void check_networks(struct check_context *context)
{
	unsigned before = context->findings->len;
	g_autoptr(GPtrArray) links = g_ptr_array_new_with_free_func(free_link);
	for_each(context, "devices/interface/source/@network", links, check_one_network);
	add_links(context->vm,
		  "devices/interface[@type='bridge'][not(virtualport/@type='openvswitch')]/"
		  "source[not(@network)]/@bridge",
		  true, links);
	add_links(context->vm,
		  "devices/interface[@type='bridge'][virtualport/@type='openvswitch']/"
		  "source[not(@network)]/@bridge | "
		  "devices/interface[@type='direct']/source[not(@network)]/@dev",
		  false, links);
	check_links(context, links);
	for_each(context, "devices/interface/filterref/@filter", links, check_one_filter);
	check_user_network(context);
	if (context->findings->len == before)
		check_add(context->findings, "network", CHECK_PASS, NULL, NULL);
}
