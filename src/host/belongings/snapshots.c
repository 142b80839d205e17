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
	if (!array)
		return NULL;
	JsonNode *node = json_node_init_array(json_node_alloc(), array);
	json_array_unref(array);
	return node;
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

/* ---- before ---- */

const char *belonging_advise_snapshots(virDomainPtr domain, unsigned long libvirt_version)
{
	static const unsigned long deletes_external = 9000000;
	if (libvirt_version < deletes_external &&
	    virDomainSnapshotNum(domain, VIR_DOMAIN_SNAPSHOT_LIST_EXTERNAL) > 0)
		return _("This libvirt cannot delete external ones: merge their files (virsh "
			 "blockcommit VM DISK --active --pivot), then forget them (virsh "
			 "snapshot-delete VM NAME --metadata); or use shared storage.");
	return _("Delete them (virsh snapshot-delete), or use shared storage.");
}

#define OVERLAYS "disks/disk[@snapshot='external']/source/@file | domain/devices/disk/source/@file"

/* The files that it needs beside the disks as they are now: its memory, which is copied if it may be, and the images
 * below. */
static void check_external_snapshot(struct check_context *context, const char *name,
				    struct xml *snapshot)
{
	g_autoptr(GPtrArray) nodes = xml_find(
		snapshot, NULL,
		context->options->files_stay ? "memory[@snapshot='external']/@file | " OVERLAYS
					     : OVERLAYS);
	for (guint i = 0; i < nodes->len; i++) {
		g_autofree char *path = xml_path(snapshot, nodes->pdata[i], ".");
		g_autoptr(GPtrArray) words = g_ptr_array_new();
		g_ptr_array_add(words, path);
		g_auto(GStrv) missing = check_missing_there(context, "-e", "", words);
		if (missing && missing[0] && *missing[0])
			check_add(context->findings, "snapshots", CHECK_WARN,
				  _("Copy it there under the same path, or delete the snapshot "
				    "before."),
				  _("the snapshot “%s” of “%s” needs %s, which %s does not have: "
				    "there the VM cannot go back to it"),
				  name, context->name, path, context->destination->name);
	}
}

static void check_external_snapshots(struct check_context *context)
{
	static const unsigned long reverts_external = 9009000;
	virDomainSnapshotPtr *snapshots = NULL;
	int count = virDomainListAllSnapshots(context->domain, &snapshots,
					      VIR_DOMAIN_SNAPSHOT_LIST_EXTERNAL);
	for (int i = 0; i < count; i++) {
		char *text = virDomainSnapshotGetXMLDesc(snapshots[i], 0);
		struct xml *xml = text ? xml_read(text, NULL) : NULL;
		if (xml)
			check_external_snapshot(context, virDomainSnapshotGetName(snapshots[i]),
						xml);
		xml_free(xml);
		free(text);
	}
	if (count >= 0)
		free_snapshots(snapshots, count);
	if (count > 0 && context->destination->libvirt_version < reverts_external)
		check_add(context->findings, "snapshots", CHECK_PASS, NULL,
			  _("libvirt at %s cannot go back to external snapshots (9.9 can)"),
			  context->destination->name);
}

void belonging_check_snapshots(struct check_context *context)
{
	int count = virDomainSnapshotNum(context->domain, 0);
	if (count > 0) {
		check_add(
			context->findings, "snapshots", CHECK_PASS, NULL,
			ngettext("“%s” has %d snapshot: what libvirt knows about it goes along",
				 "“%s” has %d snapshots: what libvirt knows about them goes along",
				 (unsigned long) count),
			context->name, count);
		check_external_snapshots(context);
	} else {
		check_add(context->findings, "snapshots", CHECK_PASS, NULL, NULL);
	}
}
