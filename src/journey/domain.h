/* SPDX-License-Identifier: Apache-2.0 */
/* What the journey needs to know from the VM's live XML. */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct domain_nic {
	char *tap; /* host device name */
	char *mac;
	char *bridge; /* NULL: not on a bridge */
};

struct domain_facts {
	GPtrArray *nics;     /* struct domain_nic */
	GPtrArray *writable; /* char *: files that the VM may write */
	GPtrArray *readable; /* char *: files it only reads */
};

/* Never NULL without *error. */
struct domain_facts *domain_facts_read(const char *live_xml, GError **error);
void domain_facts_free(struct domain_facts *facts);
