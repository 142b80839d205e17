/* SPDX-License-Identifier: Apache-2.0 */
/* The disks in libvirt's description of a VM. See disk.h. */
#include "host/disk.h"

#include "host/xml.h"

#include <string.h>

void disk_free(struct disk *disk)
{
	char *const texts[] = { disk->target, disk->alias,  disk->path, disk->pool,
				disk->volume, disk->format, disk->cache };
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	g_free(disk->encryption);
	g_free(disk->secret);
	g_strfreev(disk->backing);
	g_strfreev(disk->backing_formats);
	g_free(disk);
}

static void free_disk(gpointer data)
{
	disk_free(data);
}

/* ---- reading ---- */

static const struct {
	const char *type;
	enum disk_source source;
	const char *path;
} sources[] = {
	{ "file", DISK_FILE, "source/@file" },
	{ "block", DISK_BLOCK, "source/@dev" },
	{ "volume", DISK_VOLUME, NULL },
};

static void read_source(struct xml *xml, xmlNodePtr node, struct disk *disk)
{
	g_autofree char *type = xml_string(xml, node, "@type");
	disk->source = xml_has(xml, node, "source") ? DISK_OTHER : DISK_NOTHING;
	for (size_t i = 0; i < G_N_ELEMENTS(sources); i++) {
		if (g_strcmp0(type, sources[i].type) != 0)
			continue;
		disk->path = sources[i].path ? xml_string(xml, node, sources[i].path) : NULL;
		disk->pool = xml_string(xml, node, "source/@pool");
		disk->volume = xml_string(xml, node, "source/@volume");
		bool there = disk->path || (disk->pool && disk->volume);
		disk->source = there ? sources[i].source : DISK_NOTHING;
	}
}

static void read_backing(struct xml *xml, xmlNodePtr node, struct disk *disk)
{
	g_autoptr(GPtrArray) found = xml_find(xml, node, ".//backingStore[source]");
	g_autoptr(GStrvBuilder) paths = g_strv_builder_new();
	g_autoptr(GStrvBuilder) formats = g_strv_builder_new();
	for (guint i = 0; i < found->len; i++) {
		g_autofree char *path =
			xml_string(xml, found->pdata[i], "source/@file | source/@dev");
		g_autofree char *format = xml_string(xml, found->pdata[i], "format/@type");
		if (!path)
			continue;
		g_strv_builder_add(paths, path);
		g_strv_builder_add(formats, format ? format : "");
	}
	disk->backing = g_strv_builder_end(paths);
	disk->backing_formats = g_strv_builder_end(formats);
}

/* It stands below the disk or, as libvirt writes it itself, below its source. */
static void read_encryption(struct xml *xml, xmlNodePtr node, struct disk *disk)
{
	disk->encryption = xml_string(xml, node, "encryption/@format | source/encryption/@format");
	disk->secret =
		xml_string(xml, node, "encryption/secret/@uuid | source/encryption/secret/@uuid");
	disk->secret_by_usage = !disk->secret;
	if (!disk->secret)
		disk->secret = xml_string(
			xml, node, "encryption/secret/@usage | source/encryption/secret/@usage");
}

static struct disk *read_disk(struct xml *xml, xmlNodePtr node)
{
	struct disk *disk = g_new0(struct disk, 1);
	g_autofree char *device = xml_string(xml, node, "@device");
	disk->target = xml_string(xml, node, "target/@dev");
	disk->alias = xml_string(xml, node, "alias/@name");
	disk->format = xml_string(xml, node, "driver/@type");
	disk->cache = xml_string(xml, node, "driver/@cache");
	disk->removable = g_strcmp0(device, "cdrom") == 0 || g_strcmp0(device, "floppy") == 0;
	disk->writable = !xml_has(xml, node, "readonly") && g_strcmp0(device, "cdrom") != 0;
	disk->several = xml_has(xml, node, "shareable");
	read_source(xml, node, disk);
	read_backing(xml, node, disk);
	read_encryption(xml, node, disk);
	disk->format = disk->format ? disk->format : g_strdup("raw");
	disk->cache = disk->cache ? disk->cache : g_strdup("default");
	return disk;
}

GPtrArray *disk_read_all(const char *live_xml, GError **error)
{
	struct xml *xml = xml_read(live_xml, error);
	if (!xml)
		return NULL;
	GPtrArray *disks = g_ptr_array_new_with_free_func(free_disk);
	g_autoptr(GPtrArray) nodes = xml_find(xml, NULL, "/domain/devices/disk");
	for (guint i = 0; i < nodes->len; i++)
		g_ptr_array_add(disks, read_disk(xml, nodes->pdata[i]));
	xml_free(xml);
	return disks;
}

/* ---- adapting ---- */

static xmlNodePtr child_of(xmlNodePtr node, const char *name)
{
	for (xmlNodePtr child = node->children; child; child = child->next)
		if (child->type == XML_ELEMENT_NODE &&
		    strcmp((const char *) child->name, name) == 0)
			return child;
	return NULL;
}

static void set_attribute(xmlNodePtr node, const char *name, const char *value)
{
	if (value)
		xmlSetProp(node, (const xmlChar *) name, (const xmlChar *) value);
	else
		xmlUnsetProp(node, (const xmlChar *) name);
}

static void remove_child(xmlNodePtr node, const char *name)
{
	xmlNodePtr child = child_of(node, name);
	if (!child)
		return;
	xmlUnlinkNode(child);
	xmlFreeNode(child);
}

/* QEMU mirrors only to a disk of the same size, and a block device is often larger. */
static void set_slice(xmlNodePtr source, const struct disk_move *move)
{
	remove_child(source, "slices");
	if (!move->slice)
		return;
	g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, move->slice);
	xmlNodePtr slices = xmlNewChild(source, NULL, (const xmlChar *) "slices", NULL);
	xmlNodePtr slice = xmlNewChild(slices, NULL, (const xmlChar *) "slice", NULL);
	set_attribute(slice, "type", "storage");
	set_attribute(slice, "offset", "0");
	set_attribute(slice, "size", size);
}

static void set_source(xmlNodePtr node, const struct disk_move *move)
{
	static const char *const others[] = { "file", "dev", "pool", "volume", "mode", "index" };
	xmlNodePtr source = child_of(node, "source");
	if (!source)
		source = xmlNewChild(node, NULL, (const xmlChar *) "source", NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(others); i++)
		set_attribute(source, others[i], NULL);
	set_attribute(source, move->block ? "dev" : "file", move->destination);
	set_attribute(node, "type", move->block ? "block" : "file");
	set_slice(source, move);
}

static void move_disk(xmlNodePtr node, const struct disk_move *move)
{
	xmlNodePtr driver = child_of(node, "driver");
	if (!driver) {
		driver = xmlNewChild(node, NULL, (const xmlChar *) "driver", NULL);
		set_attribute(driver, "name", "qemu");
	}
	set_attribute(driver, "type", move->format);
	set_source(node, move);
	/* without it libvirt looks into the image, which says what is true there */
	remove_child(node, "backingStore");
}

static bool is_meant(struct xml *xml, xmlNodePtr node, const struct disk_move *move)
{
	g_autofree char *target = xml_string(xml, node, "target/@dev");
	g_autofree char *path = xml_string(xml, node, "source/@file | source/@dev");
	bool named = g_strcmp0(target, move->target) == 0;
	/* the definition may have it at another target than the running VM */
	if (move->source && path)
		return g_str_equal(path, move->source);
	return named && (!move->source || xml_has(xml, node, "source/@volume"));
}

char *disk_adapt_xml(const char *text, const struct disk_move *moves, guint count, GError **error)
{
	struct xml *xml = xml_read(text, error);
	if (!xml)
		return NULL;
	g_autoptr(GPtrArray) nodes = xml_find(xml, NULL, "/domain/devices/disk");
	for (guint i = 0; i < nodes->len; i++)
		for (guint j = 0; j < count; j++)
			if (is_meant(xml, nodes->pdata[i], &moves[j]))
				move_disk(nodes->pdata[i], &moves[j]);
	char *adapted = xml_print(xml, xmlDocGetRootElement(xml->document));
	xml_free(xml);
	return adapted;
}
