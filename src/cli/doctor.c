/* SPDX-License-Identifier: Apache-2.0 */
/* `watari doctor`: says for each host what works, what does not, and the next step. */
#include "cli/command.h"

#include "base/i18n.h"

struct values {
	const char *rsh, *remote_watari;
	bool json;
};

#define AT(member) offsetof(struct values, member)

static const struct option_row rows[] = {
	{ "rsh", 0, OPTION_TEXT, AT(rsh), N_("COMMAND"), .offer = OFFER_COMMAND,
	  .help = N_("The remote shell to use instead of ssh.") },
	{ "remote-watari", 0, OPTION_TEXT, AT(remote_watari), N_("PATH"), .offer = OFFER_FILE,
	  .help = N_("Where watari is at the hosts. The default is found by their PATH.") },
	{ "json", 0, OPTION_FLAG, AT(json), .help = N_("Print one JSON document.") },
};

static int run(const struct command *command, void *data, char **arguments)
{
	return WATARI_EXIT_REFUSED;
}

const struct command doctor_command = {
	.name = "doctor",
	.summary = N_("Say for each host what works and what does not."),
	.arguments = "[HOST…]",
	.arguments_most = -1,
	.offers = { OFFER_HOST, OFFER_HOST },
	.rows = rows,
	.row_count = G_N_ELEMENTS(rows),
	.values_size = sizeof(struct values),
	.run = run,
};
