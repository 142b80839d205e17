/* SPDX-License-Identifier: Apache-2.0 */
/* Reads, removes and restores the metadata of snapshots. */
#include "journey/snapshots.h"

#include "base/error.h"
#include "base/i18n.h"
#include "base/json.h"
#include "host/host.h"

static void free_all(virDomainSnapshotPtr *snapshots, int count)
{
	for (int i = 0; i < count; i++)
		virDomainSnapshotFree(snapshots[i]);
	/* libvirt allocates with malloc */
	free(snapshots);
}

static JsonObject *describe(virDomainSnapshotPtr snapshot)
{
	char *xml = virDomainSnapshotGetXMLDesc(snapshot, VIR_DOMAIN_SNAPSHOT_XML_SECURE);
	if (!xml)
		return NULL;
	JsonObject *object = json_object_new();
	json_object_set_string_member(object, "name", virDomainSnapshotGetName(snapshot));
	json_object_set_boolean_member(object, "current",
				       virDomainSnapshotIsCurrent(snapshot, 0) == 1);
	json_object_set_string_member(object, "xml", xml);
	free(xml);
	return object;
}

JsonArray *snapshots_read(virDomainPtr domain, GError **error)
{
	virDomainSnapshotPtr *snapshots = NULL;
	int count =
		virDomainListAllSnapshots(domain, &snapshots, VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL);
	if (count < 0) {
		host_error(error, WATARI_ERROR_REFUSED, NULL, _("the VM's snapshots"));
		return NULL;
	}
	JsonArray *array = json_array_new();
	for (int i = 0; i < count && array; i++) {
		JsonObject *object = describe(snapshots[i]);
		if (object) {
			json_array_add_object_element(array, object);
		} else {
			host_error(error, WATARI_ERROR_REFUSED, NULL,
				   virDomainSnapshotGetName(snapshots[i]));
			g_clear_pointer(&array, json_array_unref);
		}
	}
	free_all(snapshots, count);
	return array;
}

bool snapshots_remove(virDomainPtr domain, JsonArray *snapshots, GError **error)
{
	/* children first */
	for (guint i = json_array_get_length(snapshots); i-- > 0;) {
		JsonObject *object = json_array_get_object_element(snapshots, i);
		const char *name = json_get_string(object, "name", "");
		virDomainSnapshotPtr snapshot = virDomainSnapshotLookupByName(domain, name, 0);
		if (!snapshot)
			continue;
		int status =
			virDomainSnapshotDelete(snapshot, VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY);
		virDomainSnapshotFree(snapshot);
		if (status < 0)
			return host_error(error, WATARI_ERROR_REFUSED, NULL, name);
	}
	return true;
}

bool snapshots_restore(virDomainPtr domain, JsonArray *snapshots, GError **error)
{
	for (guint i = 0; i < json_array_get_length(snapshots); i++) {
		JsonObject *object = json_array_get_object_element(snapshots, i);
		unsigned flags = VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE;
		if (json_get_bool(object, "current", false))
			flags |= VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT;
		virDomainSnapshotPtr snapshot = virDomainSnapshotCreateXML(
			domain, json_get_string(object, "xml", ""), flags);
		if (!snapshot)
			return host_error(error, WATARI_ERROR_ATTENTION, NULL,
					  json_get_string(object, "name", ""));
		virDomainSnapshotFree(snapshot);
	}
	return true;
}
