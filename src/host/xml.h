/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's XML documents, asked by XPath. */
#pragma once
#include <glib.h>
#include <libxml/xpath.h>
#include <stdbool.h>
#include <stdint.h>

struct xml {
	xmlDocPtr document;
	xmlXPathContextPtr context;
};

/* Parse TEXT (no network, no entities from files). WATARI_ERROR_INTERNAL. */
struct xml *xml_read(const char *text, GError **error);
void xml_free(struct xml *xml);

/* The nodes that PATH finds below NODE (NULL: the document). Free with g_ptr_array_unref. */
GPtrArray *xml_find(struct xml *xml, xmlNodePtr node, const char *path);
/* The text of what PATH finds first, NULL when there is none; an element's is stripped of blanks around it. Caller
 * frees. */
char *xml_string(struct xml *xml, xmlNodePtr node, const char *path);
/* The same as it stands there: for the names of files, which may end with a blank. Caller frees. */
char *xml_path(struct xml *xml, xmlNodePtr node, const char *path);
/* A whole number from there. */
uint64_t xml_number(struct xml *xml, xmlNodePtr node, const char *path, uint64_t fallback);
/* Is there anything at PATH? */
bool xml_has(struct xml *xml, xmlNodePtr node, const char *path);
/* NODE as text. Caller frees. */
char *xml_print(struct xml *xml, xmlNodePtr node);
