/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the VM's live XML. */
#include "journey/domain.h"

#include "host/xml.h"

static void nic_free(gpointer data)
{
	struct domain_nic *nic = data;
	g_free(nic->tap);
	g_free(nic->mac);
	g_free(nic->bridge);
	g_free(nic);
}

static void read_nics(struct xml *xml, struct domain_facts *facts)
{
	g_autoptr(GPtrArray) nodes = xml_find(xml, NULL, "/domain/devices/interface");
	for (guint i = 0; i < nodes->len; i++) {
		struct domain_nic *nic = g_new0(struct domain_nic, 1);
		nic->tap = xml_string(xml, nodes->pdata[i], "target/@dev");
		nic->mac = xml_string(xml, nodes->pdata[i], "mac/@address");
		nic->bridge = xml_string(xml, nodes->pdata[i], "source/@bridge");
		g_ptr_array_add(facts->nics, nic);
	}
}

static void read_files(struct xml *xml, struct domain_facts *facts)
{
	g_autoptr(GPtrArray) nodes = xml_find(xml, NULL, "/domain/devices/disk[source/@file]");
	for (guint i = 0; i < nodes->len; i++) {
		bool read_only = xml_has(xml, nodes->pdata[i], "readonly");
		g_ptr_array_add(read_only ? facts->readable : facts->writable,
				xml_string(xml, nodes->pdata[i], "source/@file"));
	}
}

struct domain_facts *domain_facts_read(const char *live_xml, GError **error)
{
	struct xml *xml = xml_read(live_xml, error);
	if (!xml)
		return NULL;
	struct domain_facts *facts = g_new0(struct domain_facts, 1);
	facts->nics = g_ptr_array_new_with_free_func(nic_free);
	facts->writable = g_ptr_array_new_with_free_func(g_free);
	facts->readable = g_ptr_array_new_with_free_func(g_free);
	read_nics(xml, facts);
	read_files(xml, facts);
	xml_free(xml);
	return facts;
}

void domain_facts_free(struct domain_facts *facts)
{
	if (!facts)
		return;
	g_ptr_array_unref(facts->nics);
	g_ptr_array_unref(facts->writable);
	g_ptr_array_unref(facts->readable);
	g_free(facts);
}
