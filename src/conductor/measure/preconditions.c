/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan holds fast of the world, and how a later world differs from it. See preconditions.h. */
#include "conductor/measure/preconditions.h"

#include "host/xml.h"

#include "base/i18n.h"
#include "base/json.h"

static const struct {
	const char *name, *words;
} fields[] = {
	{ "vm", N_("the VM's UUID") },
	{ "state", N_("the VM's state") },
	{ "source", N_("the source host") },
	{ "destination", N_("the destination host") },
	{ "memory", N_("the VM's memory") },
	{ "vcpus", N_("the VM's processors") },
	{ "disks", N_("the VM's disks") },
	{ "networks", N_("the VM's networks") },
	{ "devices", N_("the VM's devices") },
	{ "source-qemu", N_("QEMU at the source") },
	{ "destination-qemu", N_("QEMU at the destination") },
	{ "source-libvirt", N_("libvirt at the source") },
	{ "destination-libvirt", N_("libvirt at the destination") },
};

/* The texts of all that PATH finds, in order. */
static char *join_texts(struct xml *xml, const char *path)
{
	GString *text = g_string_new(NULL);
	g_autoptr(GPtrArray) nodes = xml_find(xml, NULL, path);
	for (guint i = 0; i < nodes->len; i++) {
		g_autofree char *one = xml_string(xml, nodes->pdata[i], ".");
		g_string_append_printf(text, "%s%s", i ? ", " : "", one ? one : "");
	}
	return g_string_free(text, FALSE);
}

/* Numbers and names that libvirt gives anew at each start are not in there. */
static char *count_devices(struct xml *xml)
{
	static const char *const kinds[] = { "disk",    "interface", "hostdev",  "filesystem",
					     "channel", "serial",    "redirdev", "tpm",
					     "shmem",   "vsock",     "memory",   "controller" };
	GString *text = g_string_new(NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
		g_autofree char *path = g_strdup_printf("devices/%s", kinds[i]);
		g_autoptr(GPtrArray) nodes = xml_find(xml, NULL, path);
		if (nodes->len)
			g_string_append_printf(text, "%s%u %s", text->len ? ", " : "", nodes->len,
					       kinds[i]);
	}
	return g_string_free(text, FALSE);
}

/* What of the VM's description is recorded as it stands there. */
static const struct {
	const char *name, *path;
} texts[] = {
	{ "memory", "/domain/memory" },
	{ "vcpus", "/domain/vcpu | /domain/vcpu/@current" },
	{ "disks", "devices/disk/source/@file | devices/disk/source/@dev | "
		   "devices/disk/source/@name | devices/disk/source/@volume" },
	{ "networks", "devices/interface/mac/@address | devices/interface/source/@network | "
		      "devices/interface/source/@bridge | devices/interface/source/@dev" },
};

void preconditions_describe_vm(JsonObject *preconditions, const char *description)
{
	struct xml *xml = xml_read(description, NULL);
	if (!xml)
		return;
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
		g_autofree char *text = join_texts(xml, texts[i].path);
		json_set_text(preconditions, texts[i].name, text);
	}
	g_autofree char *devices = count_devices(xml);
	json_set_text(preconditions, "devices", devices);
	xml_free(xml);
}

static void describe_world_host(JsonObject *preconditions, const struct host *host,
				const char *name)
{
	g_autofree char *qemu = host_format_version(host->qemu_version);
	g_autofree char *libvirt = host_format_version(host->libvirt_version);
	g_autofree char *qemu_name = g_strdup_printf("%s-qemu", name);
	g_autofree char *libvirt_name = g_strdup_printf("%s-libvirt", name);
	json_set_text(preconditions, name, host->uuid);
	json_set_text(preconditions, qemu_name, qemu);
	json_set_text(preconditions, libvirt_name, libvirt);
}

JsonObject *preconditions_describe(struct move *move)
{
	JsonObject *preconditions = json_object_new();
	json_set_text(preconditions, "vm", move->report->vm_uuid);
	json_set_text(preconditions, "state", move->paused_before ? "paused" : "running");
	describe_world_host(preconditions, move->hosts[MOVE_SOURCE], "source");
	describe_world_host(preconditions, move->hosts[MOVE_DESTINATION], "destination");
	preconditions_describe_vm(preconditions, move->live_xml);
	return preconditions;
}

bool preconditions_compare(JsonObject *before, JsonObject *now, GError **error)
{
	for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
		const char *was = json_get_string(before, fields[i].name, "");
		const char *is = json_get_string(now, fields[i].name, "");
		if (!g_str_equal(was, is))
			return error_set(
				error, WATARI_ERROR_REFUSED,
				_("Make a new plan with “watari plan”."),
				_("the plan was made for another state of things: %s was “%s” "
				  "and is “%s”"),
				_(fields[i].words), was, is);
	}
	return true;
}
