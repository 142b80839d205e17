/* SPDX-License-Identifier: Apache-2.0 */
/* Carries the descriptions of snapshots. libvirt refuses to migrate a VM that has snapshots, though
 * their data lies in the shared disks and only the descriptions ("metadata") belong to a host. So
 * these are taken off at the source and put back where the VM ends up. */
#include "host/belongings/belongings.h"

#include "base/i18n.h"

static void free_snapshots(virDomainSnapshotPtr *snapshots, int count)
{
	for (int i = 0; i < count; i++)
		virDomainSnapshotFree(snapshots[i]);
	/* libvirt allocates with malloc */
	free(snapshots);
}

static JsonObject *describe_snapshot(virDomainSnapshotPtr snapshot)
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

/* Parents first: an array of {name, current, xml}. */
static JsonNode *read_snapshots(virDomainPtr domain, GError **error)
{
	virDomainSnapshotPtr *snapshots = NULL;
	int count =
		virDomainListAllSnapshots(domain, &snapshots, VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL);
	if (count < 0) {
		host_error(error, WATARI_ERROR_INTERNAL, NULL, _("the VM's snapshots"));
		return NULL;
	}
	if (count == 0) {
		free_snapshots(snapshots, count);
		return NULL;
	}
	JsonArray *array = json_array_new();
	for (int i = 0; i < count && array; i++) {
		JsonObject *object = describe_snapshot(snapshots[i]);
		if (object) {
			json_array_add_object_element(array, object);
		} else {
			host_error(error, WATARI_ERROR_INTERNAL, NULL,
				   virDomainSnapshotGetName(snapshots[i]));
			g_clear_pointer(&array, json_array_unref);
		}
	}
	free_snapshots(snapshots, count);
	return array ? json_node_init_array(json_node_alloc(), array) : NULL;
}

static bool take_snapshots(virDomainPtr domain, JsonNode *value, GError **error)
{
	JsonArray *snapshots = json_node_get_array(value);
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
			return host_error(error, WATARI_ERROR_INTERNAL, NULL, name);
	}
	return true;
}

static bool give_snapshots(virDomainPtr domain, JsonNode *value, GError **error)
{
	JsonArray *snapshots = json_node_get_array(value);
	for (guint i = 0; i < json_array_get_length(snapshots); i++) {
		JsonObject *object = json_array_get_object_element(snapshots, i);
		unsigned flags = VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE;
		if (json_get_bool(object, "current", false))
			flags |= VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT;
		virDomainSnapshotPtr snapshot = virDomainSnapshotCreateXML(
			domain, json_get_string(object, "xml", ""), flags);
		if (!snapshot)
			return host_error(error, WATARI_ERROR_INTERNAL, NULL,
					  json_get_string(object, "name", ""));
		virDomainSnapshotFree(snapshot);
	}
	return true;
}

const struct belonging_carrier belonging_snapshots = {
	.read = read_snapshots,
	.take = take_snapshots,
	.give = give_snapshots,
};
