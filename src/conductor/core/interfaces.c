/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the VM's live XML. */
#include "conductor/core/interfaces.h"

#include "host/xml.h"

static void nic_free(gpointer data)
{
	struct domain_nic *nic = data;
	g_free(nic->tap);
	g_free(nic->mac);
	g_free(nic);
}

GPtrArray *domain_read_nics(const char *live_xml, GError **error)
{
	struct xml *xml = xml_read(live_xml, error);
	if (!xml)
		return NULL;
	GPtrArray *nics = g_ptr_array_new_with_free_func(nic_free);
	g_autoptr(GPtrArray) nodes = xml_find(xml, NULL, "/domain/devices/interface");
	for (guint i = 0; i < nodes->len; i++) {
		struct domain_nic *nic = g_new0(struct domain_nic, 1);
		nic->tap = xml_string(xml, nodes->pdata[i], "target/@dev");
		nic->mac = xml_string(xml, nodes->pdata[i], "mac/@address");
		g_ptr_array_add(nics, nic);
	}
	xml_free(xml);
	return nics;
}
