/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps a definition startable at the destination although it names a medium (CD, floppy) that the
 * running VM has no more and the destination has not: ejected live, it is still in the definition.
 * Started with the policy "optional", the VM finds its drive empty. */
#include "conductor/disks/definition.h"

#include "host/disk.h"
#include "host/image.h"
#include "host/xml.h"

#include <stdlib.h>

#define MEDIA "devices/disk[@device='cdrom' or @device='floppy']/source[@file][not(@startupPolicy)]"

static bool runs_with(GPtrArray *disks, const char *path)
{
	for (guint i = 0; disks && i < disks->len; i++)
		if (g_strcmp0(((const struct disk *) disks->pdata[i])->path, path) == 0)
			return true;
	return false;
}

static bool is_absent_there(struct move *move, const char *path)
{
	struct image_place place;
	return image_look(&move->shell, move->addresses[MOVE_DESTINATION], path, &place, NULL) &&
	       !place.exists;
}

void definition_find_absent_media(struct move *move)
{
	char *text = move->persistent && !move->offline
			     ? virDomainGetXMLDesc(move->domain, VIR_DOMAIN_XML_INACTIVE)
			     : NULL;
	struct xml *xml = text ? xml_read(text, NULL) : NULL;
	g_autoptr(GPtrArray) disks = disk_read_all(move->live_xml, NULL);
	g_autoptr(GStrvBuilder) absent = g_strv_builder_new();
	free(text); /* libvirt's */
	g_autoptr(GPtrArray) media = xml ? xml_find(xml, NULL, MEDIA) : g_ptr_array_new();
	for (guint i = 0; i < media->len; i++) {
		g_autofree char *path = xml_path(xml, media->pdata[i], "@file");
		if (path && !runs_with(disks, path) && is_absent_there(move, path))
			g_strv_builder_add(absent, path);
	}
	xml_free(xml);
	move->absent_media = g_strv_builder_end(absent);
}

char *definition_make_startable(struct move *move, const char *text, GError **error)
{
	struct xml *xml = xml_read(text, error);
	if (!xml)
		return NULL;
	g_autoptr(GPtrArray) media = xml_find(xml, NULL, MEDIA);
	for (guint i = 0; i < media->len; i++) {
		g_autofree char *path = xml_path(xml, media->pdata[i], "@file");
		if (g_strv_contains((const char *const *) move->absent_media, path))
			xmlSetProp(media->pdata[i], (const xmlChar *) "startupPolicy",
				   (const xmlChar *) "optional");
	}
	char *adapted = xml_print(xml, xmlDocGetRootElement(xml->document));
	xml_free(xml);
	return adapted;
}
