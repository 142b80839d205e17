/* SPDX-License-Identifier: Apache-2.0 */
/* Build-time program: writes the option list of a command as mdoc, or the completion.
 *   watari-manual options COMMAND | completion */
#include "cli/options.h"

#include <string.h>

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "completion") == 0) {
		options_print_bash_completion(stdout);
		return 0;
	}
	const struct command *command = argc == 3 ? command_find(argv[2]) : NULL;
	if (!command)
		return 2;
	options_print_mdoc(command, stdout);
	return 0;
}
