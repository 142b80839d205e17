/* SPDX-License-Identifier: Apache-2.0 */
/* Check of a VM's vsock: its number (CID) is one of its host, and the guest keeps it. */
#include "host/checks/checks.h"

#include "base/i18n.h"

#include <stdlib.h>
#include <string.h>

/* The number of a running VM at the destination, whatever it is called there. */
static uint64_t read_cid(virDomainPtr domain)
{
	char *text = virDomainGetXMLDesc(domain, 0);
	struct xml *xml = text ? xml_read(text, NULL) : NULL;
	uint64_t cid = xml ? xml_number(xml, NULL, "devices/vsock/cid/@address", 0) : 0;
	xml_free(xml);
	free(text);
	return cid;
}

void check_judge_cid(struct check_context *context, uint64_t cid, const char *other)
{
	check_add(context->findings, "device", CHECK_REFUSE,
		  _("Detach the vsock of one of them first (virsh detach-device), or let libvirt "
		    "choose the number: <cid auto='yes'/>."),
		  _("“%s” has the vsock number %d, which the VM “%s” has at %s"), context->name,
		  (int) cid, other, context->destination->name);
}

/* Where libvirt chose the number it chooses another one there. */
void check_vsock(struct check_context *context)
{
	uint64_t cid =
		xml_number(context->vm, NULL, "devices/vsock/cid[not(@auto='yes')]/@address", 0);
	virDomainPtr *domains = NULL;
	int count = cid > 0 ? virConnectListAllDomains(context->destination->connection, &domains,
						       VIR_CONNECT_LIST_DOMAINS_ACTIVE)
			    : 0;
	for (int i = 0; i < count; i++) {
		if (read_cid(domains[i]) == cid)
			check_judge_cid(context, cid, virDomainGetName(domains[i]));
		virDomainFree(domains[i]);
	}
	free(domains);
}
