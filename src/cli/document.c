/* SPDX-License-Identifier: Apache-2.0 */
/* What is written from the option tables: --help, the overview and the man pages' option lists. */
#include "base/i18n.h"
#include "cli/columns.h"
#include "cli/options.h"

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

/* A word for roff: backslashes and dashes are escaped, quotes and dots are named, so that any roff in
 * any locale reads them. */
static void print_roff(FILE *out, const char *word)
{
	static const struct {
		const char *text, *roff;
	} names[] = {
		{ "\\", "\\e" }, { "-", "\\-" }, { "“", "\\(lq" }, { "”", "\\(rq" }, { "…", "..." }
	};
	while (*word) {
		size_t i = 0;
		while (i < G_N_ELEMENTS(names) && !g_str_has_prefix(word, names[i].text))
			i++;
		if (i < G_N_ELEMENTS(names)) {
			fputs(names[i].roff, out);
			word += strlen(names[i].text);
		} else {
			fputc(*word++, out);
		}
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
