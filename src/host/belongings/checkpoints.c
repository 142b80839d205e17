/* SPDX-License-Identifier: Apache-2.0 */
/* Carries the descriptions of checkpoints, on which incremental backups stand. Their bitmaps lie in the
 * images, or travel with the disks that are copied; libvirt forgets the descriptions. It takes them for
 * a running VM only, so those of a VM that is off cannot be carried. */
#include "host/belongings/belongings.h"

#include "base/i18n.h"

#include <string.h>

static void free_checkpoints(virDomainCheckpointPtr *checkpoints, int count)
{
	for (int i = 0; i < count; i++)
		virDomainCheckpointFree(checkpoints[i]);
	/* libvirt allocates with malloc */
	free(checkpoints);
}

static JsonObject *describe_checkpoint(virDomainCheckpointPtr checkpoint)
{
	char *xml = virDomainCheckpointGetXMLDesc(checkpoint, VIR_DOMAIN_CHECKPOINT_XML_SECURE);
	if (!xml)
		return NULL;
	JsonObject *object = json_object_new();
	json_object_set_string_member(object, "name", virDomainCheckpointGetName(checkpoint));
	json_object_set_string_member(object, "xml", xml);
	free(xml);
	return object;
}

/* Parents first: an array of {name, xml}. A libvirt that knows no checkpoints has none. */
static JsonNode *read_checkpoints(virDomainPtr domain, GError **error)
{
	virDomainCheckpointPtr *checkpoints = NULL;
	int count = virDomainListAllCheckpoints(domain, &checkpoints,
						VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL);
	if (count <= 0) {
		if (count == 0)
			free_checkpoints(checkpoints, count);
		return NULL;
	}
	JsonArray *array = json_array_new();
	for (int i = 0; i < count && array; i++) {
		JsonObject *object = describe_checkpoint(checkpoints[i]);
		if (object) {
			json_array_add_object_element(array, object);
		} else {
			host_error(error, WATARI_ERROR_INTERNAL, NULL,
				   virDomainCheckpointGetName(checkpoints[i]));
			g_clear_pointer(&array, json_array_unref);
		}
	}
	free_checkpoints(checkpoints, count);
	if (!array)
		return NULL;
	JsonNode *node = json_node_init_array(json_node_alloc(), array);
	json_array_unref(array);
	return node;
}

static bool has_checkpoint(virDomainPtr domain, const char *name)
{
	virDomainCheckpointPtr checkpoint = virDomainCheckpointLookupByName(domain, name, 0);
	if (checkpoint)
		virDomainCheckpointFree(checkpoint);
	return checkpoint != NULL;
}

/* QEMU is asked whether the bitmap is there and whole: a checkpoint without one would make a backup
 * that lacks blocks. */
static bool give_checkpoint(virDomainPtr domain, JsonObject *object, GError **error)
{
	const char *name = json_get_string(object, "name", "");
	if (has_checkpoint(domain, name))
		return true;
	virDomainCheckpointPtr checkpoint = virDomainCheckpointCreateXML(
		domain, json_get_string(object, "xml", ""),
		VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE |
			VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE_VALIDATE);
	if (!checkpoint)
		return host_error(error, WATARI_ERROR_INTERNAL, NULL, name);
	virDomainCheckpointFree(checkpoint);
	return true;
}

static bool give_checkpoints(virDomainPtr domain, JsonNode *value, GError **error)
{
	JsonArray *array = json_node_get_array(value);
	/* it was accepted before that those of a VM that is off are lost */
	if (virDomainIsActive(domain) != 1)
		return true;
	for (guint i = 0; i < json_array_get_length(array); i++)
		if (!give_checkpoint(domain, json_array_get_object_element(array, i), error))
			return false;
	return true;
}

/* The bitmaps are kept by the VM at the destination now. Children first. */
static bool leave_checkpoints(virDomainPtr domain, JsonNode *value, GError **error)
{
	JsonArray *array = json_node_get_array(value);
	for (guint i = json_array_get_length(array); i-- > 0;) {
		const char *name =
			json_get_string(json_array_get_object_element(array, i), "name", "");
		virDomainCheckpointPtr checkpoint =
			virDomainCheckpointLookupByName(domain, name, 0);
		if (!checkpoint)
			continue;
		int status = virDomainCheckpointDelete(checkpoint,
						       VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY);
		virDomainCheckpointFree(checkpoint);
		if (status < 0)
			return host_error(error, WATARI_ERROR_INTERNAL, NULL, name);
	}
	return true;
}

const struct belonging_carrier belonging_checkpoints = {
	.read = read_checkpoints,
	.give = give_checkpoints,
	.leave = leave_checkpoints,
};

void belonging_check_checkpoints(struct check_context *context)
{
	virDomainCheckpointPtr *checkpoints = NULL;
	int count = virDomainListAllCheckpoints(context->domain, &checkpoints,
						VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL);
	g_autoptr(GString) names = g_string_new(NULL);
	for (int i = 0; i < count; i++)
		g_string_append_printf(names, "%s%s", i ? ", " : "",
				       virDomainCheckpointGetName(checkpoints[i]));
	if (count >= 0)
		free_checkpoints(checkpoints, count);
	if (count <= 0)
		return;
	if (context->options->offline)
		check_add(
			context->findings, "checkpoints", CHECK_REFUSE,
			_("Start it and move it while it runs, or make a full backup after the "
			  "move."),
			_("“%s” has the checkpoints %s, which libvirt cannot take for a VM that is "
			  "off: the chain of its incremental backups would end"),
			context->name, names->str);
	else
		check_add(
			context->findings, "checkpoints", CHECK_PASS, NULL,
			_("“%s” has the checkpoints %s: they go along, and incremental backups go "
			  "on there"),
			context->name, names->str);
}
