/* SPDX-License-Identifier: Apache-2.0 */
#include "host/disk_use.h"

#include "host/disk.h"
#include "host/xml.h"

#include <stdlib.h>

static bool has_path(const struct disk *disk, const char *path)
{
	return g_strcmp0(disk->path, path) == 0 ||
	       g_strv_contains((const char *const *) disk->backing, path);
}

/* Its firmware's variables. */
static bool has_nvram(const char *text, const char *path)
{
	struct xml *xml = xml_read(text, NULL);
	g_autofree char *plain = xml ? xml_path(xml, NULL, "os/nvram") : NULL;
	g_autofree char *source = xml ? xml_path(xml, NULL, "os/nvram/source/@file") : NULL;
	xml_free(xml);
	return g_strcmp0(plain, path) == 0 || g_strcmp0(source, path) == 0;
}

/* A running VM's disks may differ from those it is defined with. */
static bool uses(virDomainPtr domain, unsigned flags, const char *path)
{
	char *text = virDomainGetXMLDesc(domain, flags);
	g_autoptr(GPtrArray) disks = text ? disk_read_all(text, NULL) : NULL;
	bool found = text && has_nvram(text, path);
	for (guint i = 0; disks && i < disks->len && !found; i++)
		found = has_path(disks->pdata[i], path);
	free(text);
	return found;
}

static bool is_user(virDomainPtr domain, const char *path, const char *except_uuid)
{
	char uuid[VIR_UUID_STRING_BUFLEN];
	if (virDomainGetUUIDString(domain, uuid) < 0 || g_strcmp0(uuid, except_uuid) == 0)
		return false;
	return uses(domain, 0, path) || uses(domain, VIR_DOMAIN_XML_INACTIVE, path);
}

char *disk_use_find(struct host *host, const char *path, const char *except_uuid, GError **error)
{
	virDomainPtr *domains = NULL;
	char *name = NULL;
	int count = virConnectListAllDomains(host->connection, &domains, 0);
	if (count < 0) {
		host_error(error, WATARI_ERROR_INTERNAL, NULL, host->name);
		return NULL;
	}
	for (int i = 0; i < count; i++) {
		if (!name && is_user(domains[i], path, except_uuid))
			name = g_strdup(virDomainGetName(domains[i]));
		virDomainFree(domains[i]);
	}
	free(domains);
	return name;
}
