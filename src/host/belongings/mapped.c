/* SPDX-License-Identifier: Apache-2.0 */
/* The VM's description with the names that the user gives things of the destination. */
#include "host/belongings/belongings.h"

#include "base/i18n.h"

#include <stdlib.h>

void belonging_check_mapping(struct check_context *context)
{
	if (mapping_is_empty(context->options->mapping))
		return;
	char *live = virDomainGetXMLDesc(context->domain, 0);
	char *defined = virDomainGetXMLDesc(context->domain, VIR_DOMAIN_XML_INACTIVE);
	const char *const texts[] = { live, defined };
	g_auto(GStrv) unused = mapping_unused(context->options->mapping, texts, 2);
	for (char **word = unused; *word; word++)
		check_add(context->findings, "mapping", CHECK_WARN,
			  _("See virsh dumpxml for what it uses."),
			  _("nothing of “%s” has the name that %s speaks of"), context->name,
			  *word);
	if (!*unused)
		check_add(context->findings, "mapping", CHECK_PASS, NULL, NULL);
	free(live);
	free(defined);
}
