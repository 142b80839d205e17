/* SPDX-License-Identifier: Apache-2.0 */
/* The completion for bash, written from the option tables. */
#include "cli/options.h"
#include "host/checks/check.h"

static const char *offer_name(enum option_offer offer)
{
	static const char *const names[] = {
		[OFFER_NOTHING] = "nothing", [OFFER_VM] = "vm",     [OFFER_HOST] = "host",
		[OFFER_FILE] = "file",       [OFFER_MOVE] = "move", [OFFER_COMMAND] = "command",
		[OFFER_CHECK] = "check",
	};
	return names[offer];
}

/* The options, those of them that take a value, and what the arguments are. */
static void print_bash_options(const struct command *command, FILE *out)
{
	g_autoptr(GString) valued = g_string_new(NULL);
	const struct option_row *row;
	fprintf(out, "\t%s) words='", command->name);
	for (size_t i = 0; (row = options_next(command, &i));) {
		fprintf(out, "--%s ", row->name);
		if (row->kind == OPTION_FLAG)
			continue;
		g_string_append_printf(valued, " --%s", row->name);
		if (row->letter)
			g_string_append_printf(valued, " -%c", row->letter);
	}
	fprintf(out, "--help' valued='%s ' first=%s others=%s ;;\n", valued->str,
		offer_name(command->offers[0]), offer_name(command->offers[1]));
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

/* bash cuts the line at "=" and ":" as well: "--link=t" is three words, "kvm1:we" too. */
static const char bash_head[] =
	"# bash completion for watari; made from its option tables\n"
	"_watari_words()\n"
	"{\n"
	"\tmapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$cur\")\n"
	"}\n"
	"\n"
	"_watari_vms()\n"
	"{\n"
	"\ttimeout 5 virsh --quiet ${1:+--connect \"qemu+ssh://$1/system?no_tty=1\"} list --name "
	"2>/dev/null\n"
	"}\n"
	"\n"
	"_watari_offer()\n"
	"{\n"
	"\tcase $1 in\n"
	"\tvm) _watari_words \"$(_watari_vms \"$host\")\" ;;\n"
	"\tmove) _watari_words \"$(watari --complete moves 2>/dev/null)\" ;;\n"
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
	"\tlocal command=${COMP_WORDS[1]} words='' valued='' first=nothing others=nothing\n"
	"\tlocal place=0 host='' i word\n"
	"\tCOMPREPLY=()\n"
	"\tif [[ $cur == = ]]; then cur=''; elif [[ $last == = ]]; then "
	"last=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
	"\tif [[ $cur == : ]]; then cur='' host=$last; elif [[ $last == : ]]; then "
	"host=${COMP_WORDS[COMP_CWORD-2]}; fi\n";

/* Counts the arguments before the cursor: neither options nor their values. */
static const char bash_tail[] =
	"\tesac\n"
	"\tif [[ $cur == -* ]]; then\n\t\t_watari_words \"$words\"\n\t\treturn\n\tfi\n"
	"\tfor ((i = 2; i < COMP_CWORD; i++)); do\n"
	"\t\tword=${COMP_WORDS[i]}\n"
	"\t\tif [[ $word == -* ]]; then\n"
	"\t\t\t[[ $valued == *\" $word \"* ]] && ((i++))\n"
	"\t\t\t[[ ${COMP_WORDS[i]} == = ]] && ((i++))\n"
	"\t\telif [[ $word == : ]]; then\n"
	"\t\t\t((place--))\n"
	"\t\telse\n"
	"\t\t\t((place++))\n"
	"\t\tfi\n"
	"\tdone\n"
	"\t[[ ${COMP_WORDS[COMP_CWORD]} == : || $last == : ]] && place=0\n"
	"\tif ((place <= 0)); then _watari_offer \"$first\"; else _watari_offer \"$others\"; "
	"fi\n"
	"}\n"
	"complete -F _watari watari\n";

static void print_command_names(FILE *out)
{
	for (const struct command *const *command = commands; *command; command++)
		fprintf(out, "%s ", (*command)->name);
}

void options_print_bash_completion(FILE *out)
{
	g_auto(GStrv) checks = check_list_acceptable();
	g_autofree char *names = g_strjoinv(" ", checks);
	fprintf(out, "%s%s%s", bash_head, names, bash_middle);
	fputs("\tif ((COMP_CWORD == 1)); then\n\t\t_watari_words '", out);
	print_command_names(out);
	fputs("help --help --version'\n\t\treturn\n\tfi\n\tcase $command in\n\thelp) ((COMP_CWORD "
	      "== 2)) "
	      "&& _watari_words '",
	      out);
	print_command_names(out);
	fputs("'; return ;;\n", out);
	for (const struct command *const *command = commands; *command; command++)
		print_bash_options(*command, out);
	fputs("\tesac\n\tcase $command:$last in\n", out);
	for (const struct command *const *command = commands; *command; command++)
		print_bash_values(*command, out);
	fputs(bash_tail, out);
}
