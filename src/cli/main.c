/* SPDX-License-Identifier: Apache-2.0 */
/* The program: finds the command and runs it. */
#include "cli/command.h"
#include "cli/nearest.h"

#include "base/i18n.h"
#include "base/plain.h"
#include "base/version.h"
#include "conductor/server/client.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPEN_MOVES_MOST = 100 };

static void set_up_locale(void)
{
	setlocale(LC_ALL, "");
	/* An uninstalled program finds its catalogues where the build put them. */
	const char *directory = g_getenv("WATARI_LOCALEDIR");
	bindtextdomain(GETTEXT_PACKAGE, directory ? directory : LOCALEDIR);
	bind_textdomain_codeset(GETTEXT_PACKAGE, "UTF-8");
	textdomain(GETTEXT_PACKAGE);
}

/* For the completion: VMs of moves that have not ended, one a line. */
static int print_open_moves(void)
{
	g_autoptr(GPtrArray) moves = client_list(NULL, NULL, OPEN_MOVES_MOST, NULL);
	for (guint i = 0; i < moves->len; i++) {
		const struct client_move *move = moves->pdata[i];
		if (move->state != CLIENT_ENDED)
			puts(move->move->vm_name);
	}
	return WATARI_EXIT_OK;
}

/* Before anything is said: whose words it may be is not known at each place that prints. */
static void set_up_output(void)
{
	FILE *out = plain_stream(STDOUT_FILENO, isatty(STDOUT_FILENO) ? _IOLBF : _IOFBF);
	FILE *errors = plain_stream(STDERR_FILENO, _IONBF);
	stdout = out ? out : stdout;
	stderr = errors ? errors : stderr;
}

static int complete_words(const char *shell)
{
	if (g_strcmp0(shell, "moves") == 0)
		return print_open_moves();
	if (!shell || !g_str_equal(shell, "bash")) {
		g_autoptr(GError) error = NULL;
		error_set(&error, WATARI_ERROR_USAGE, _("Use “watari --complete bash”."),
			  _("there is completion for bash only"));
		return command_complain(error);
	}
	options_print_bash_completion(stdout);
	return WATARI_EXIT_OK;
}

/* A program that asked for JSON gets it, wherever in the line the mistake is. */
static bool wants_json(char **argv)
{
	return g_strv_contains((const char *const *) argv, "--json");
}

/* `watari help COMMAND` is `watari COMMAND --help`. */
static int help_with(const char *name)
{
	const struct command *command = name ? command_find(name) : NULL;
	if (command && command->rows)
		options_print_help(command, stdout);
	else
		options_print_overview(stdout);
	return WATARI_EXIT_OK;
}

static int no_such_command(const char *word, bool json)
{
	g_autoptr(GError) error = NULL;
	const char *near = NULL;
	for (const struct command *const *command = commands; *command; command++)
		near = nearest_word(word, (*command)->name, near);
	g_autofree char *next = near ? g_strdup_printf(_("Did you mean “watari %s”?"), near)
				     : g_strdup(_("See “watari --help”."));
	error_set(&error, WATARI_ERROR_USAGE, next, _("there is no command “%s”"), word);
	return command_complain_json(error, json);
}

static int without_command(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : NULL;
	if (!word) {
		options_print_overview(stderr);
		return WATARI_EXIT_USAGE;
	}
	if (g_str_equal(word, "--help") || g_str_equal(word, "-h"))
		options_print_overview(stdout);
	else if (g_str_equal(word, "help"))
		return help_with(argc > 2 ? argv[2] : NULL);
	else if (g_str_equal(word, "--version") || g_str_equal(word, "-V"))
		printf("watari %s\n", watari_version);
	else if (g_str_equal(word, "--complete"))
		return complete_words(argc > 2 ? argv[2] : NULL);
	else
		return no_such_command(word, wants_json(argv));
	return WATARI_EXIT_OK;
}

static int run_command(const struct command *command, int argc, char **argv)
{
	if (command->run_raw)
		return command->run_raw(argc, argv);
	g_autofree void *values = g_malloc0(command->values_size);
	g_autoptr(GError) error = NULL;
	char **arguments = NULL;
	bool help;
	if (command->defaults)
		command->defaults(values);
	if (!options_parse(command, argc, argv, values, &arguments, &help, &error)) {
		return command_complain_json(error, wants_json(argv));
	}
	if (help) {
		options_print_help(command, stdout);
		return WATARI_EXIT_OK;
	}
	return command->run(command, values, arguments);
}

/* Output that was lost (a full disk, a closed pipe) is not a success. */
static int finish_output(int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	fprintf(stderr, "watari: %s\n", g_strerror(errno));
	return code == WATARI_EXIT_OK ? WATARI_EXIT_ATTENTION : code;
}

int main(int argc, char **argv)
{
	set_up_locale();
	set_up_output();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error, not the end of a move */
	const struct command *command = argc > 1 ? command_find(argv[1]) : NULL;
	if (!command)
		return finish_output(without_command(argc, argv));
	return finish_output(run_command(command, argc - 1, argv + 1));
}
