/* SPDX-License-Identifier: Apache-2.0 */
/* `watari mover`: the process at each host that carries the data. Started by `watari migrate`. */
#include "cli/command.h"

#include "base/i18n.h"
#include "mover/mover.h"

/* The mover reads its own command line; this list is for the manual and for completion. */
static const struct option_row rows[] = {
	{ "attach", 0, OPTION_TEXT, 0, N_("PATH"), .offer = OFFER_FILE,
	  .help = N_("Copy stdin and stdout to and from the unix socket at PATH. "
		     "This is how the link goes through ssh.") },
	{ "sweep", 0, OPTION_FLAG, 0,
	  .help = N_("Remove what killed movers left on this host, of all migrations or of the one "
		     "whose id follows.") },
	{ "kill", 0, OPTION_TEXT, 0, N_("ID"),
	  .help = N_("The same for the one migration, whose mover on this host hangs: it is killed "
		     "at once, unless it carries the pages of a post-copy.") },
	{ "living", 0, OPTION_TEXT, 0, N_("UUID"),
	  .help = N_("Print what is known of each mover of that VM that lives on this host.") },
	{ "saved", 0, OPTION_TEXT, 0, N_("ACTION"),
	  .help = N_(
		  "With the path of a saved state and the UUID of its VM: write its digest beside "
		  "it (digest), compare it with that (check), say which file it is (look), or "
		  "remove both (remove).") },
	{ "helper", 0, OPTION_TEXT, 0, N_("USER"),
	  .help = N_("Become the program that follows, one of QEMU's tools, as that user (-1: as "
		     "root, with little left) and confined.") },
	{ 0 },
};

static int run_raw(int argc, char **argv)
{
	if (argc == 2 && (g_str_equal(argv[1], "--help") || g_str_equal(argv[1], "-h"))) {
		options_print_help(&mover_command, stdout);
		return WATARI_EXIT_OK;
	}
	return mover_main(argc, argv);
}

const struct command mover_command = {
	.name = "mover",
	.summary = N_("Carry the data of a migration; started by “watari migrate”."),
	.arguments = "[ID]",
	.offers = { OFFER_NOTHING, OFFER_NOTHING },
	.rows = rows,
	.run_raw = run_raw,
};
