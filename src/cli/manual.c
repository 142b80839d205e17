/* SPDX-License-Identifier: Apache-2.0 */
/* Build-time program: fills a manual page, or writes the completion.
 *   watari-manual page watari-COMMAND.1.in exit.mdoc
 *   watari-manual completion
 * A line @OPTIONS@ becomes the option list of the command that the page is named after, a line
 * @EXIT@ the second file. */
#include "cli/options.h"

#include <glib.h>
#include <string.h>

static char *read_file(const char *path)
{
	g_autoptr(GError) error = NULL;
	char *text = NULL;
	if (!g_file_get_contents(path, &text, NULL, &error))
		g_error("%s", error->message);
	return text;
}

/* "man/watari-migrate.1.in" is about migrate; "watari.1.in" about no command. */
static const struct command *command_of(const char *path)
{
	g_autofree char *base = g_path_get_basename(path);
	char *dash = strchr(base, '-'), *dot = strchr(base, '.');
	if (!dash || !dot)
		return NULL;
	*dot = 0;
	return command_find(dash + 1);
}

static void print_page(const char *path, const char *exit_path)
{
	g_autofree char *page = read_file(path), *exits = read_file(exit_path);
	g_auto(GStrv) lines = g_strsplit(page, "\n", -1);
	for (char **line = lines; *line && (line[1] || **line); line++) {
		if (g_str_equal(*line, "@OPTIONS@"))
			options_print_mdoc(command_of(path), stdout);
		else if (g_str_equal(*line, "@EXIT@"))
			fputs(exits, stdout);
		else
			puts(*line);
	}
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "completion") == 0)
		options_print_bash_completion(stdout);
	else if (argc == 4 && strcmp(argv[1], "page") == 0)
		print_page(argv[2], argv[3]);
	else
		return 2;
	return 0;
}
