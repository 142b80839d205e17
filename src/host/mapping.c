/* SPDX-License-Identifier: Apache-2.0 */
/* Puts the destination's names of networks and listening addresses into a description. See mapping.h. */
#include "host/mapping.h"

#include "base/i18n.h"
#include "host/xml.h"

#include <string.h>

/* Where a description names them. A display with autoport gets a new port at each host by itself. */
static const struct {
	bool network;
	const char *path;
} places[] = {
	{ true, "devices/interface[@type='network']/source/@network" },
	{ true, "devices/interface[@type='bridge']/source/@bridge" },
	{ true, "devices/interface[@type='direct']/source/@dev" },
	{ true, "devices/graphics/listen[@type='network']/@network" },
	{ false, "devices/graphics/@listen" },
	{ false, "devices/graphics/listen[@type='address']/@address" },
	{ false, "devices/graphics[not(@autoport='yes')]/@port" },
	{ false, "devices/graphics[not(@autoport='yes')]/@tlsPort" },
	{ false, "devices/graphics/@websocket" },
	{ false, "devices//source[@mode='bind']/@host" },
	{ false, "devices//source[@mode='bind']/@service" },
	{ false, "devices/interface[@type='server']/source/@address" },
	{ false, "devices/interface[@type='server']/source/@port" },
	{ false, "devices/interface[@type='udp']/source/local/@address" },
	{ false, "devices/interface[@type='udp']/source/local/@port" },
	{ false, "devices/interface/portForward/@address" },
};

bool mapping_is_empty(const struct mapping *mapping)
{
	return !mapping || ((!mapping->networks || !mapping->networks[0]) &&
			    (!mapping->listens || !mapping->listens[0]));
}

static bool check_words(const char *option, const char *const *words, GError **error)
{
	for (; words && *words; words++) {
		const char *equals = strchr(*words, '=');
		if (!equals || equals == *words || !equals[1])
			return error_set(error, WATARI_ERROR_USAGE,
					 _("Write what it is at the source, then what it is at the "
					   "destination: OLD=NEW."),
					 _("--%s %s has not two sides"), option, *words);
	}
	return true;
}

bool mapping_check(const struct mapping *mapping, GError **error)
{
	return check_words("network", mapping->networks, error) &&
	       check_words("listen", mapping->listens, error);
}

/* What VALUE is at the destination; NULL: no word speaks of it. */
static const char *find_new_name(const char *const *words, const char *value)
{
	size_t length = strlen(value);
	for (; words && *words; words++)
		if (strncmp(*words, value, length) == 0 && (*words)[length] == '=')
			return *words + length + 1;
	return NULL;
}

static void rename_attribute(xmlNodePtr attribute, const char *value)
{
	xmlNodePtr node = attribute->parent;
	/* these are of the network as it was joined at the source */
	xmlUnsetProp(node, (const xmlChar *) "portid");
	if (strcmp((const char *) attribute->name, "network") == 0)
		xmlUnsetProp(node, (const xmlChar *) "bridge");
	xmlSetProp(node, attribute->name, (const xmlChar *) value);
}

char *mapping_adapt_xml(const struct mapping *mapping, const char *text, GError **error)
{
	struct xml *xml = xml_read(text, error);
	if (!xml)
		return NULL;
	for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
		g_autoptr(GPtrArray) found = xml_find(xml, NULL, places[i].path);
		for (guint j = 0; j < found->len; j++) {
			g_autofree char *value = xml_string(xml, found->pdata[j], ".");
			const char *there = find_new_name(places[i].network ? mapping->networks
									    : mapping->listens,
							  value ? value : "");
			if (there)
				rename_attribute(found->pdata[j], there);
		}
	}
	char *adapted = xml_print(xml, xmlDocGetRootElement(xml->document));
	xml_free(xml);
	return adapted;
}

static bool is_named(struct xml *xml, bool network, const char *word)
{
	for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
		g_autoptr(GPtrArray) found = xml_find(xml, NULL, places[i].path);
		for (guint j = 0; j < found->len && places[i].network == network; j++) {
			const char *words[] = { word, NULL };
			g_autofree char *value = xml_string(xml, found->pdata[j], ".");
			if (find_new_name(words, value ? value : ""))
				return true;
		}
	}
	return false;
}

static void add_unused(GStrvBuilder *unused, bool network, const char *const *words,
		       struct xml *const *documents, int count)
{
	for (; words && *words; words++) {
		bool named = false;
		for (int i = 0; i < count && !named; i++)
			named = documents[i] && is_named(documents[i], network, *words);
		if (!named)
			g_strv_builder_add(unused, *words);
	}
}

char **mapping_unused(const struct mapping *mapping, const char *const *xmls, int count)
{
	g_autoptr(GStrvBuilder) unused = g_strv_builder_new();
	g_autofree struct xml **documents = g_new0(struct xml *, count);
	for (int i = 0; i < count; i++)
		documents[i] = xmls[i] ? xml_read(xmls[i], NULL) : NULL;
	add_unused(unused, true, mapping->networks, documents, count);
	add_unused(unused, false, mapping->listens, documents, count);
	for (int i = 0; i < count; i++)
		xml_free(documents[i]);
	return g_strv_builder_end(unused);
}
