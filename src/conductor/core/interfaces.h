/* SPDX-License-Identifier: Apache-2.0 */
/* The VM's network interfaces, from its live XML. */
#pragma once
#include <glib.h>

struct domain_nic {
	char *tap; /* host device name; NULL: none */
	char *mac;
};

/* A GPtrArray of struct domain_nic, or NULL with *error. */
GPtrArray *domain_read_nics(const char *live_xml, GError **error);
