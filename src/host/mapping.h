/* SPDX-License-Identifier: Apache-2.0 */
/* What has another name at the destination, as the user says, and descriptions of the VM with those
 * names. Only documents: nothing here asks a host. */
#pragma once
#include "base/error.h"

#include <glib.h>
#include <stdbool.h>

struct mapping {
	const char *const
		*networks; /* "OLD=NEW": networks, bridges, cards; NULL or NULL-terminated */
	const char *const *listens; /* "OLD=NEW": addresses or ports that the VM listens on */
};

bool mapping_is_empty(const struct mapping *mapping);
/* Every word has two sides. WATARI_ERROR_USAGE. */
bool mapping_check(const struct mapping *mapping, GError **error);
/* XML (a domain) with the new names. NULL with WATARI_ERROR_INTERNAL. Caller frees. */
char *mapping_adapt_xml(const struct mapping *mapping, const char *xml, GError **error);
/* The words whose left side is in none of the COUNT descriptions. Free with g_strfreev. */
char **mapping_unused(const struct mapping *mapping, const char *const *xmls, int count);
