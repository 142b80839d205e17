/* SPDX-License-Identifier: Apache-2.0 */
/* `watari resolve`: finds out where a VM is after a move that broke off, and ends it right. */
#include "cli/command.h"

#include "base/i18n.h"

struct values {
	const char *connect, *rsh;
	bool dry_run, json;
};

#define AT(member) offsetof(struct values, member)

static const struct option_row rows[] = {
	{ "connect", 'c', OPTION_TEXT, AT(connect), N_("URI"),
	  .help = N_("The libvirt URI of one of the hosts, beside those named.") },
	{ "dry-run", 'n', OPTION_FLAG, AT(dry_run),
	  .help = N_("Say what would be done, and do nothing.") },
	{ "rsh", 0, OPTION_TEXT, AT(rsh), N_("COMMAND"), .offer = OFFER_COMMAND,
	  .help = N_("The remote shell to use instead of ssh.") },
	{ "json", 0, OPTION_FLAG, AT(json), .help = N_("Print one JSON document.") },
};

static int run(const struct command *command, void *data, char **arguments)
{
	return WATARI_EXIT_REFUSED;
}

const struct command resolve_command = {
	.name = "resolve",
	.summary = N_("End a broken-off move: find the VM, keep exactly one copy running."),
	.arguments = "VM [HOST…]",
	.arguments_least = 1,
	.arguments_most = 9,
	.offers = { OFFER_VM, OFFER_HOST },
	.rows = rows,
	.row_count = G_N_ELEMENTS(rows),
	.values_size = sizeof(struct values),
	.run = run,
};
