/* SPDX-License-Identifier: Apache-2.0 */
/* The list of what belongs to a VM, and the walks over it. See belongings.h. */
#include "host/belongings/belongings.h"

#include "base/i18n.h"

static const char *const fate_names[] = { "libvirt", "carried", "proven",
					  "mapped",  "said",    "refused" };
_Static_assert(G_N_ELEMENTS(fate_names) == BELONGING_FATE_LAST, "one name for each fate");

const char *belonging_fate_name(enum belonging_fate fate)
{
	return fate_names[fate];
}

/* In the order of docs/travels.md. */
const struct belonging belongings[] = {
	/* beside the VM in libvirt */
	{ "autostart", .fate = BELONGING_CARRIED, .check = belonging_check_autostart,
	  .carrier = &belonging_autostart },
	{ "snapshots", .fate = BELONGING_CARRIED, .check = belonging_check_snapshots,
	  .carrier = &belonging_snapshots },
	{ "checkpoints", .fate = BELONGING_CARRIED, .check = belonging_check_checkpoints,
	  .carrier = &belonging_checkpoints },
	{ "tuning", .fate = BELONGING_CARRIED, .carrier = &belonging_tuning },
	{ "managed-save", .fate = BELONGING_SAID, .check = check_persistence },
	/* in its description */
	{ "disks", "devices/disk", .fate = BELONGING_CARRIED },
	{ "boot-files", "os/kernel | os/initrd | os/dtb | os/acpi/table",
	  .fate = BELONGING_CARRIED },
	{ "firmware", "os/loader | os/nvram/@template", .fate = BELONGING_PROVEN },
	{ "nvram", "os/nvram", .fate = BELONGING_CARRIED },
	{ "tpm", "devices/tpm/backend[@type='emulator']", .fate = BELONGING_CARRIED },
	{ "emulator", "devices/emulator", .fate = BELONGING_PROVEN },
	{ "networks", "devices/interface/source | devices/interface/target",
	  .fate = BELONGING_MAPPED, .check = belonging_check_mapping },
	{ "filters", "devices/interface/filterref", .fate = BELONGING_PROVEN },
	{ "listeners",
	  "devices/graphics/@listen | devices/graphics/listen | "
	  "devices//source[@mode='bind']/@host",
	  .fate = BELONGING_MAPPED },
	{ "secrets", "//secret | devices/disk/auth", .fate = BELONGING_CARRIED },
	{ "host-devices",
	  "devices/hostdev | devices/interface[@type='hostdev'] | "
	  "devices/tpm/backend[@type='passthrough'] | "
	  "devices/input[@type='passthrough' or @type='evdev'] | "
	  "devices/smartcard[@mode='host' or @mode='host-certificates']",
	  .fate = BELONGING_REFUSED },
	{ "filesystems", "devices/filesystem", .fate = BELONGING_REFUSED },
	{ "shared-memory", "devices/shmem", .fate = BELONGING_REFUSED },
	{ "memory-files", "devices/memory/source", .fate = BELONGING_REFUSED },
	{ "logs",
	  "devices/*/log/@file | devices/*[@type='file'][self::serial or self::console or "
	  "self::parallel or self::channel]/source/@path",
	  .fate = BELONGING_SAID, .check = belonging_check_logs },
	{ "sockets", "devices/*[@type='unix']/source/@path | devices/graphics//@socket",
	  .fate = BELONGING_PROVEN },
	{ "things",
	  "devices/*[@type='dev' or @type='pipe']/source/@path | devices/rng/backend | "
	  "devices/*/rom/@file | devices/interface/script | devices/interface/downscript | "
	  "devices/interface/backend | devices/graphics/gl | devices/video/model/acceleration | "
	  "devices/audio | devices/pstore | devices/shmem/server",
	  .fate = BELONGING_PROVEN },
	{ "qemu-arguments", "*[local-name()='commandline']", .fate = BELONGING_PROVEN },
	{ "labels", "seclabel", .fate = BELONGING_PROVEN },
	{ "placement", "cputune | numatune | memoryBacking | resource", .fate = BELONGING_PROVEN },
	{ "settings",
	  "metadata | title | description | sysinfo//text() | memtune | perf | os/cmdline | "
	  "devices/disk/iotune | devices/interface/bandwidth | devices/interface/link",
	  .fate = BELONGING_LIBVIRT },
	{ "terminals", "devices/*[@type='pty']/source/@path | devices/*/@tty",
	  .fate = BELONGING_LIBVIRT },
	{ "other-files", "//@*[starts-with(., '/')] | //*[not(*)]/text()[starts-with(., '/')]",
	  .fate = BELONGING_PROVEN, .check = belonging_check_files },
	/* what only the definition has, after all that the running VM has */
	{ "definition", .fate = BELONGING_CARRIED, .check = belonging_check_definition },
	{ NULL },
};

void check_belongings(struct check_context *context)
{
	for (const struct belonging *belonging = belongings; belonging->name; belonging++)
		if (belonging->check)
			belonging->check(context);
}

JsonObject *belongings_read(virDomainPtr domain, GError **error)
{
	g_autoptr(JsonObject) values = json_object_new();
	for (const struct belonging *belonging = belongings; belonging->name; belonging++) {
		g_autoptr(GError) failure = NULL;
		JsonNode *value =
			belonging->carrier ? belonging->carrier->read(domain, &failure) : NULL;
		if (failure) {
			error_classify(&failure, WATARI_ERROR_REFUSED, NULL);
			g_propagate_error(error, g_steal_pointer(&failure));
			return NULL;
		}
		if (value)
			json_object_set_member(values, belonging->name, value);
	}
	return g_steal_pointer(&values);
}

const char *belongings_first_taken(JsonObject *values)
{
	for (const struct belonging *belonging = belongings; belonging->name; belonging++)
		if (belonging->carrier && belonging->carrier->take &&
		    json_object_has_member(values, belonging->name))
			return belonging->name;
	return NULL;
}

bool belongings_take(virDomainPtr domain, JsonObject *values, GError **error)
{
	for (const struct belonging *belonging = belongings; belonging->name; belonging++) {
		const struct belonging_carrier *carrier = belonging->carrier;
		JsonNode *value = json_object_get_member(values, belonging->name);
		if (!carrier || !carrier->take || !value || carrier->take(domain, value, error))
			continue;
		error_classify(error, WATARI_ERROR_REFUSED, NULL);
		return false;
	}
	return true;
}

/* Off where the VM was before it is on where it is: what may be at one host only is never at both. */
static bool hand_over_belonging(const struct belonging_carrier *carrier, virDomainPtr left,
				virDomainPtr domain, JsonNode *value, GError **error)
{
	return (!left || !carrier->leave || carrier->leave(left, value, error)) &&
	       carrier->give(domain, value, error);
}

bool belongings_hand_over_all(virDomainPtr left, virDomainPtr domain, JsonObject *values,
			      GError **error)
{
	bool good = true;
	for (const struct belonging *belonging = belongings; belonging->name; belonging++) {
		JsonNode *value = json_object_get_member(values, belonging->name);
		g_autoptr(GError) failure = NULL;
		if (!belonging->carrier || !value ||
		    hand_over_belonging(belonging->carrier, left, domain, value, &failure))
			continue;
		error_prefix(&failure, "%s", belonging->name);
		if (good)
			g_propagate_error(error, g_steal_pointer(&failure));
		good = false;
	}
	return good;
}
