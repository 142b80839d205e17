/* SPDX-License-Identifier: Apache-2.0 */
/* Parses a command line by the command's table. */
#include "cli/options.h"

#include "base/error.h"
#include "base/i18n.h"
#include "base/unit.h"
#include "cli/nearest.h"

#include <getopt.h>
#include <string.h>

/* Codes for getopt_long: a row's code is FIRST_ROW + its index, whether it has a letter or not. */
enum { HELP = 256, FIRST_ROW };

static bool parse_flag(const struct option_row *row, const char *text, void *value, GError **error)
{
	*(bool *) value = true;
	return true;
}

static bool parse_option_text(const struct option_row *row, const char *text, void *value,
			      GError **error)
{
	if (!*text)
		return error_set(error, WATARI_ERROR_USAGE, NULL, _("the value is empty"));
	*(const char **) value = text;
	return true;
}

/* How a limit of the row is said. */
static char *format_limit(const struct option_row *row, int64_t number)
{
	if (row->kind == OPTION_BYTES)
		return unit_format_bytes((uint64_t) number);
	if (row->kind == OPTION_DURATION)
		return unit_format_duration_ms(number);
	return g_strdup_printf("%lld", (long long) number);
}

static bool in_range(const struct option_row *row, int64_t number, GError **error)
{
	if (number >= row->least && (row->most == 0 || number <= row->most))
		return true;
	g_autofree char *least = format_limit(row, row->least);
	g_autofree char *most = format_limit(row, row->most);
	if (row->most == 0)
		return error_set(error, WATARI_ERROR_USAGE, NULL, _("at least %s is needed"),
				 least);
	return error_set(error, WATARI_ERROR_USAGE, NULL, _("it must be between %s and %s"), least,
			 most);
}

static bool parse_bytes(const struct option_row *row, const char *text, void *value, GError **error)
{
	uint64_t *bytes = value;
	return unit_parse_bytes(text, bytes, error) && in_range(row, (int64_t) *bytes, error);
}

static bool parse_duration(const struct option_row *row, const char *text, void *value,
			   GError **error)
{
	int64_t *ms = value;
	return unit_parse_duration_ms(text, row->unit, ms, error) && in_range(row, *ms, error);
}

static bool read_number(const char **at, int64_t *number)
{
	char *end = NULL;
	if (!g_ascii_isdigit(**at))
		return false;
	*number = g_ascii_strtoll(*at, &end, 10);
	*at = end;
	return true;
}

static bool parse_option_number(const struct option_row *row, const char *text, void *value,
				GError **error)
{
	int64_t number;
	const char *at = text;
	if (!read_number(&at, &number) || *at)
		return error_set(error, WATARI_ERROR_USAGE, NULL, _("“%s” is not a number"), text);
	if (!in_range(row, number, error))
		return false;
	*(int *) value = (int) number;
	return true;
}

static bool parse_ports(const struct option_row *row, const char *text, void *value, GError **error)
{
	uint16_t *ports = value;
	int64_t first, last;
	const char *at = text;
	bool good = read_number(&at, &first);
	last = first;
	if (good && *at == '-') {
		at++;
		good = read_number(&at, &last);
	}
	if (!good || *at || first < 1 || last > 65535 || first > last)
		return error_set(error, WATARI_ERROR_USAGE,
				 _("Write it like 49152-49215 or 49152."),
				 _("“%s” is not a range of ports"), text);
	ports[0] = (uint16_t) first;
	ports[1] = (uint16_t) last;
	return true;
}

static bool parse_word(const struct option_row *row, const char *text, void *value, GError **error)
{
	for (int i = 0; row->words[i]; i++) {
		if (g_str_equal(row->words[i], text)) {
			*(int *) value = i;
			return true;
		}
	}
	/* g_strjoinv does not change the strings */
	g_autofree char *words = g_strjoinv(", ", (char **) (uintptr_t) row->words);
	return error_set(error, WATARI_ERROR_USAGE, NULL, _("“%s” is none of: %s"), text, words);
}

static bool parse_list(const struct option_row *row, const char *text, void *value, GError **error)
{
	const char **texts = value;
	int64_t count = 0;
	while (texts[count])
		count++;
	if (count == row->most)
		return error_set(error, WATARI_ERROR_USAGE, NULL,
				 _("it cannot be given more than %lld times"),
				 (long long) row->most);
	return parse_option_text(row, text, &texts[count], error);
}

static bool (*const parsers[])(const struct option_row *row, const char *text, void *value,
			       GError **error) = {
	[OPTION_FLAG] = parse_flag,
	[OPTION_TEXT] = parse_option_text,
	[OPTION_BYTES] = parse_bytes,
	[OPTION_DURATION] = parse_duration,
	[OPTION_NUMBER] = parse_option_number,
	[OPTION_PORTS] = parse_ports,
	[OPTION_WORD] = parse_word,
	[OPTION_LIST] = parse_list,
};
_Static_assert(G_N_ELEMENTS(parsers) == OPTION_KIND_LAST, "every kind has a parser");

const struct option_row *options_next(const struct command *command, size_t *index)
{
	while (command->rows && command->rows[*index].name) {
		const struct option_row *row = &command->rows[(*index)++];
		if (!row->only || row->only & command->bit)
			return row;
	}
	return NULL;
}

/* What getopt_long needs, made from the table. */
static struct option *long_options(const struct command *command)
{
	const struct option_row *row;
	size_t count = 0;
	for (size_t i = 0; options_next(command, &i);)
		count++;
	struct option *options = g_new0(struct option, count + 2);
	count = 0;
	for (size_t i = 0; (row = options_next(command, &i)); count++)
		options[count] = (struct option){
			.name = row->name,
			.has_arg = row->kind == OPTION_FLAG ? no_argument : required_argument,
			.val = FIRST_ROW + (int) (row - command->rows),
		};
	options[count] = (struct option){ .name = "help", .val = HELP };
	return options;
}

static char *short_options(const struct command *command)
{
	GString *letters = g_string_new(":h");
	const struct option_row *row;
	for (size_t i = 0; (row = options_next(command, &i));) {
		if (!row->letter)
			continue;
		g_string_append_c(letters, row->letter);
		if (row->kind != OPTION_FLAG)
			g_string_append_c(letters, ':');
	}
	return g_string_free(letters, FALSE);
}

static const struct option_row *row_of(const struct command *command, int code)
{
	const struct option_row *row;
	if (code >= FIRST_ROW)
		return &command->rows[code - FIRST_ROW];
	for (size_t i = 0; (row = options_next(command, &i));)
		if (row->letter && row->letter == code)
			return row;
	return NULL;
}

/* "Did you mean --max-downtime, --max-stop?" or where to look. */
static char *suggest_options(const struct command *command, const char *word)
{
	g_autofree char *name = g_strndup(word, strcspn(word, "="));
	g_autoptr(GString) list = g_string_new(NULL);
	const char *near = NULL;
	const struct option_row *row;
	if (!g_str_has_prefix(name, "--"))
		return g_strdup_printf(_("See “watari %s --help”."), command->name);
	for (size_t i = 0; (row = options_next(command, &i));) {
		near = nearest_word(name + 2, row->name, near);
		if (strlen(name) >= 4 && g_str_has_prefix(row->name, name + 2))
			g_string_append_printf(list, "%s--%s", list->len ? ", " : "", row->name);
	}
	if (!list->len)
		near = nearest_word(name + 2, "help", near);
	if (!list->len && near)
		g_string_append_printf(list, "--%s", near);
	if (list->len)
		return g_strdup_printf(_("Did you mean %s?"), list->str);
	return g_strdup_printf(_("See “watari %s --help”."), command->name);
}

static bool refuse_option(const struct command *command, int code, const char *word, GError **error)
{
	g_autofree char *near = suggest_options(command, word);
	g_autofree char *next = g_strdup_printf(_("See “watari %s --help”."), command->name);
	const struct option_row *row = row_of(command, optopt);
	if (code == ':' && row)
		return error_set(error, WATARI_ERROR_USAGE, next, _("--%s needs a value (%s)"),
				 row->name, row->value);
	if (row && row->kind == OPTION_FLAG && optopt >= FIRST_ROW)
		return error_set(error, WATARI_ERROR_USAGE, next, _("--%s takes no value"),
				 row->name);
	if (optopt && optopt < HELP)
		return error_set(error, WATARI_ERROR_USAGE, next, _("there is no option -%c"),
				 optopt);
	return error_set(error, WATARI_ERROR_USAGE, near, _("there is no option %s"), word);
}

/* getopt_long takes a beginning for the whole; a script that says so would break with the next
 * option that begins alike. */
static bool is_spelled_out(const struct command *command, int code, char **argv)
{
	const struct option_row *row = row_of(command, code);
	const char *word = argv[optind - 1];
	if (optarg && optarg == word)
		word = argv[optind - 2];
	if (!g_str_has_prefix(word, "--") || code < HELP)
		return true;
	const char *name = row ? row->name : "help";
	return strlen(name) == strcspn(word + 2, "=");
}

static bool parse_one(const struct command *command, int code, void *values, GError **error)
{
	const struct option_row *row = row_of(command, code);
	if (parsers[row->kind](row, optarg, (char *) values + row->offset, error))
		return true;
	error_prefix(error, "--%s", row->name);
	return false;
}

bool options_count(const struct command *command, int count, int least, GError **error)
{
	if (count >= least && (command->arguments_most < 0 || count <= command->arguments_most))
		return true;
	g_autofree char *next = g_strdup_printf(_("Usage: watari %s [OPTION…] %s"), command->name,
						command->arguments);
	if (count < least)
		return error_set(error, WATARI_ERROR_USAGE, next, _("an argument is missing"));
	return error_set(error, WATARI_ERROR_USAGE, next, _("too many arguments"));
}

bool options_parse(const struct command *command, int argc, char **argv, void *values,
		   char ***arguments, bool *help, GError **error)
{
	g_autofree struct option *longs = long_options(command);
	g_autofree char *shorts = short_options(command);
	int code;
	*help = false;
	optind = 0; /* glibc: start afresh */
	opterr = 0;
	while ((code = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		if (code != '?' && code != ':' && !is_spelled_out(command, code, argv)) {
			optopt = 0;
			const char *word = argv[optind - 1];
			return refuse_option(command, '?', optarg == word ? argv[optind - 2] : word,
					     error);
		}
		if (code == 'h' || code == HELP)
			return *help = true;
		if (code == '?' || code == ':')
			return refuse_option(command, code, argv[optind - 1], error);
		if (!parse_one(command, code, values, error))
			return false;
	}
	*arguments = argv + optind;
	return options_count(command, argc - optind, command->arguments_least, error);
}
