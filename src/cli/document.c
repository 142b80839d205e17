/* SPDX-License-Identifier: Apache-2.0 */
/* What is written from the option tables: --help, the overview, the man pages' option lists, and
 * the completion for bash. */
#include "base/i18n.h"
#include "cli/columns.h"
#include "cli/options.h"
#include "host/check.h"

#include <string.h>

enum { ROFF_WIDTH = 74 };

/* "-c, --connect URI", as help and man page show it. */
static char *row_head(const struct option_row *row)
{
	GString *head = g_string_new(NULL);
	if (row->letter)
		g_string_append_printf(head, "-%c, ", row->letter);
	g_string_append_printf(head, "--%s", row->name);
	if (row->value)
		g_string_append_printf(head, " %s", _(row->value));
	return g_string_free(head, FALSE);
}

void options_print_help(const struct command *command, FILE *out)
{
	fprintf(out, _("Usage: watari %s [OPTION…] %s"), command->name, command->arguments);
	fprintf(out, "\n%s\n\n", _(command->summary));
	const struct option_row *row;
	for (size_t i = 0; (row = options_next(command, &i));) {
		g_autofree char *head = row_head(row);
		columns_print(out, head, _(row->help));
	}
	columns_print(out, "-h, --help", _("Show this help and end."));
	fputc('\n', out);
	fprintf(out, _("The manual: man watari-%s"), command->name);
	fputc('\n', out);
}

void options_print_overview(FILE *out)
{
	fprintf(out, "%s\n%s\n\n", _("Usage: watari COMMAND [OPTION…] [ARGUMENT…]"),
		_("Moves running virtual machines between hosts."));
	for (const struct command *const *command = commands; *command; command++)
		columns_print(out, (*command)->name, _((*command)->summary));
	fputc('\n', out);
	columns_print(out, "-h, --help", _("Show this help and end."));
	columns_print(out, "-V, --version", _("Show the version and end."));
	fprintf(out, "\n%s\n", _("“watari COMMAND --help” tells about a command."));
}

/* A word for roff: backslashes and dashes are escaped. */
static void print_roff(FILE *out, const char *word)
{
	for (; *word; word++) {
		if (*word == '\\')
			fputs("\\e", out);
		else if (*word == '-')
			fputs("\\-", out);
		else
			fputc(*word, out);
	}
}

/* One sentence a line, as mdoc wants it, and no line too long. No line may begin with a control
 * character. */
static void print_roff_sentences(FILE *out, const char *text)
{
	g_auto(GStrv) words = g_strsplit(text, " ", -1);
	size_t column = 0;
	for (char **word = words; *word; word++) {
		size_t length = strlen(*word);
		bool fresh = column == 0 || column + length > ROFF_WIDTH ||
			     g_str_has_suffix(word[-1], ".");
		if (column > 0)
			fputc(fresh ? '\n' : ' ', out);
		if (fresh && (**word == '.' || **word == '\''))
			fputs("\\&", out);
		print_roff(out, *word);
		column = fresh ? length : column + 1 + length;
	}
	fputc('\n', out);
}

void options_print_mdoc(const struct command *command, FILE *out)
{
	fputs(".Bl -tag -width Ds\n", out);
	const struct option_row *row;
	for (size_t i = 0; (row = options_next(command, &i));) {
		fputs(".It ", out);
		if (row->letter)
			fprintf(out, "Fl %c , ", row->letter);
		fprintf(out, "Fl \\-%s", row->name);
		if (row->value)
			fprintf(out, " Ar %s", row->value);
		fputc('\n', out);
		print_roff_sentences(out, row->help);
	}
	fputs(".It Fl h , Fl \\-help\nShow a summary of the options and end.\n.El\n", out);
}

static const char *offer_name(enum option_offer offer)
{
	static const char *const names[] = {
		[OFFER_NOTHING] = "nothing", [OFFER_VM] = "vm",           [OFFER_HOST] = "host",
		[OFFER_FILE] = "file",       [OFFER_COMMAND] = "command", [OFFER_CHECK] = "check",
	};
	return names[offer];
}

static void print_bash_options(const struct command *command, FILE *out)
{
	fprintf(out, "\t%s) words='", command->name);
	const struct option_row *row;
	for (size_t i = 0; (row = options_next(command, &i));)
		fprintf(out, "--%s ", row->name);
	fprintf(out, "--help' first=%s others=%s ;;\n", offer_name(command->offers[0]),
		offer_name(command->offers[1]));
}

static void print_bash_values(const struct command *command, FILE *out)
{
	const struct option_row *row;
	for (size_t i = 0; (row = options_next(command, &i));) {
		if (row->kind == OPTION_FLAG)
			continue;
		fprintf(out, "\t%s:--%s", command->name, row->name);
		if (row->letter)
			fprintf(out, "|%s:-%c", command->name, row->letter);
		if (row->words) {
			g_autofree char *words = g_strjoinv(" ", (char **) (uintptr_t) row->words);
			fprintf(out, ") _watari_words '%s'; return ;;\n", words);
		} else {
			fprintf(out, ") _watari_offer %s; return ;;\n", offer_name(row->offer));
		}
	}
}

static const char bash_head[] =
	"# bash completion for watari; made from its option tables\n"
	"_watari_words()\n"
	"{\n"
	"\tmapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$cur\")\n"
	"}\n"
	"\n"
	"_watari_offer()\n"
	"{\n"
	"\tcase $1 in\n"
	"\tvm) _watari_words \"$(virsh --quiet list --name 2>/dev/null)\" ;;\n"
	"\thost) mapfile -t COMPREPLY < <(compgen -A hostname -- \"$cur\") ;;\n"
	"\tfile) mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
	"\tcommand) mapfile -t COMPREPLY < <(compgen -c -- \"$cur\") ;;\n"
	"\tcheck) _watari_words '";

/* The names of the checks come in between. */
static const char bash_middle[] =
	"' ;;\n"
	"\tesac\n"
	"}\n"
	"\n"
	"_watari()\n"
	"{\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD-1]}\n"
	"\tlocal command=${COMP_WORDS[1]} words='' first=nothing others=nothing place=0 i\n"
	"\tCOMPREPLY=()\n";

void options_print_bash_completion(FILE *out)
{
	g_auto(GStrv) checks = check_list_acceptable();
	g_autofree char *names = g_strjoinv(" ", checks);
	fprintf(out, "%s%s%s", bash_head, names, bash_middle);
	fputs("\tif ((COMP_CWORD == 1)); then\n\t\t_watari_words '", out);
	for (const struct command *const *command = commands; *command; command++)
		fprintf(out, "%s ", (*command)->name);
	fputs("--help --version'\n\t\treturn\n\tfi\n\tcase $command in\n", out);
	for (const struct command *const *command = commands; *command; command++)
		print_bash_options(*command, out);
	fputs("\tesac\n\tcase $command:$last in\n", out);
	for (const struct command *const *command = commands; *command; command++)
		print_bash_values(*command, out);
	fputs("\tesac\n"
	      "\tif [[ $cur == -* ]]; then\n\t\t_watari_words \"$words\"\n\t\treturn\n\tfi\n"
	      "\tfor ((i = 2; i < COMP_CWORD; i++)); do\n"
	      "\t\t[[ ${COMP_WORDS[i]} == -* ]] || ((place++))\n"
	      "\tdone\n"
	      "\tif ((place == 0)); then _watari_offer \"$first\"; else _watari_offer \"$others\"; "
	      "fi\n"
	      "}\n"
	      "complete -F _watari watari\n",
	      out);
}
