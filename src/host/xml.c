/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's XML documents. See xml.h. */
#include "host/xml.h"

#include "base/error.h"
#include "base/i18n.h"

#include <libxml/parser.h>
#include <string.h>

struct xml *xml_read(const char *text, GError **error)
{
	xmlDocPtr document =
		xmlReadMemory(text, (int) strlen(text), "libvirt.xml", NULL,
			      XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	if (!document) {
		error_set(error, WATARI_ERROR_INTERNAL, NULL,
			  _("libvirt's answer is not well-formed XML"));
		return NULL;
	}
	struct xml *xml = g_new0(struct xml, 1);
	xml->document = document;
	xml->context = xmlXPathNewContext(document);
	g_assert(xml->context);
	return xml;
}

void xml_free(struct xml *xml)
{
	if (!xml)
		return;
	xmlXPathFreeContext(xml->context);
	xmlFreeDoc(xml->document);
	g_free(xml);
}

GPtrArray *xml_find(struct xml *xml, xmlNodePtr node, const char *path)
{
	GPtrArray *found = g_ptr_array_new();
	xml->context->node = node ? node : xmlDocGetRootElement(xml->document);
	xmlXPathObjectPtr result = xmlXPathEvalExpression((const xmlChar *) path, xml->context);
	if (!result) {
		g_critical("bad XPath: %s", path);
		return found;
	}
	/* a number or a string would be passed over in silence, as if nothing were there */
	if (result->type != XPATH_NODESET)
		g_critical("XPath without nodes: %s", path);
	else if (result->nodesetval)
		for (int i = 0; i < result->nodesetval->nodeNr; i++)
			g_ptr_array_add(found, result->nodesetval->nodeTab[i]);
	xmlXPathFreeObject(result);
	return found;
}

static char *copy_content(xmlNodePtr node)
{
	xmlChar *content = xmlNodeGetContent(node);
	char *text = g_strdup(content ? (const char *) content : "");
	xmlFree(content);
	return text;
}

char *xml_string(struct xml *xml, xmlNodePtr node, const char *path)
{
	g_autoptr(GPtrArray) found = xml_find(xml, node, path);
	if (found->len == 0)
		return NULL;
	const xmlNode *first = found->pdata[0];
	char *text = copy_content(found->pdata[0]);
	return first->type == XML_ATTRIBUTE_NODE ? text : g_strstrip(text);
}

char *xml_path(struct xml *xml, xmlNodePtr node, const char *path)
{
	g_autoptr(GPtrArray) found = xml_find(xml, node, path);
	return found->len > 0 ? copy_content(found->pdata[0]) : NULL;
}

uint64_t xml_number(struct xml *xml, xmlNodePtr node, const char *path, uint64_t fallback)
{
	g_autofree char *text = xml_string(xml, node, path);
	guint64 value = 0;
	if (!text || !g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, &value, NULL))
		return fallback;
	return value;
}

bool xml_has(struct xml *xml, xmlNodePtr node, const char *path)
{
	g_autoptr(GPtrArray) found = xml_find(xml, node, path);
	return found->len > 0;
}

char *xml_print(struct xml *xml, xmlNodePtr node)
{
	xmlBufferPtr buffer = xmlBufferCreate();
	xmlNodeDump(buffer, xml->document, node, 0, 1);
	char *text = g_strdup((const char *) xmlBufferContent(buffer));
	xmlBufferFree(buffer);
	return text;
}
