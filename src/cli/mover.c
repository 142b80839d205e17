/* SPDX-License-Identifier: Apache-2.0 */
/* `watari mover`: the process at each host that carries the data. Started by `watari migrate`. */
#include "cli/command.h"

#include "base/i18n.h"
#ifdef HAVE_MOVER
#include "mover/mover.h"
#endif

/* The mover reads its own command line; this list is for the manual and for completion. */
static const struct option_row rows[] = {
	{ "attach", 0, OPTION_TEXT, 0, N_("PATH"), .offer = OFFER_FILE,
	  .help = N_("Copy stdin and stdout to and from the unix socket at PATH. "
		     "This is how the link goes through ssh.") },
};

#ifdef HAVE_MOVER
static int run_raw(int argc, char **argv)
{
	return mover_main(argc, argv);
}
#endif

const struct command mover_command = {
	.name = "mover",
	.summary = N_("Carry the data of a migration; started by “watari migrate”."),
	.arguments = "",
	.offers = { OFFER_NOTHING, OFFER_NOTHING },
	.rows = rows,
	.row_count = G_N_ELEMENTS(rows),
#ifdef HAVE_MOVER
	.run_raw = run_raw,
#endif
};
