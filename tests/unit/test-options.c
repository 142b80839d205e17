/* SPDX-License-Identifier: Apache-2.0 */
/* The command lines of all commands: what is taken, what is refused, and the tables themselves. */
#include "cli/move.h"

#include "conductor/core/request.h"

#include <stdlib.h>
#include <unistd.h>
#include <string.h>

struct parsed {
	void *values;
	char **arguments;
	bool help, good;
	GError *error;
	char **argv;
};

/* LINE as words; the struct's values are the command's own. */
static struct parsed parse(const struct command *command, const char *line)
{
	struct parsed parsed = { .values = g_malloc0(command->values_size) };
	int argc;
	g_shell_parse_argv(line, &argc, &parsed.argv, NULL);
	if (command->defaults)
		command->defaults(parsed.values);
	parsed.good = options_parse(command, argc, parsed.argv, parsed.values, &parsed.arguments,
				    &parsed.help, &parsed.error);
	return parsed;
}

static void clear(struct parsed *parsed)
{
	g_free(parsed->values);
	g_strfreev(parsed->argv);
	g_clear_error(&parsed->error);
}

static void test_defaults(void)
{
	struct parsed parsed = parse(&migrate_command, "migrate vm dest");
	const struct move_request *request = parsed.values; /* the first member */
	g_assert_no_error(parsed.error);
	g_assert_cmpint(request->connections, ==, 2);
	g_assert_cmpint(request->max_downtime_ms, ==, 100);
	g_assert_cmpint(request->link_timeout_ms, ==, 60000);
	g_assert_cmpint(request->link, ==, MOVE_LINK_AUTO);
	g_assert_cmpuint(request->bandwidth, ==, 0);
	g_assert_cmpuint(request->memory_limit, ==, 512 << 20);
	g_assert_cmpint(request->cores, ==, 0);
	g_assert_cmpint(request->compress, ==, MOVE_COMPRESS_AUTO);
	g_assert_cmpint(request->disks, ==, MOVE_DISKS_AUTO);
	g_assert_cmpint(request->verify_disks, ==, MOVE_VERIFY_DISKS_NONE);
	g_assert_null(request->disk_places[0]);
	g_assert_null(request->seeds[0]);
	g_assert_cmpstr(parsed.arguments[0], ==, "vm");
	g_assert_cmpstr(parsed.arguments[1], ==, "dest");
	clear(&parsed);
}

static void test_values(void)
{
	struct parsed parsed =
		parse(&migrate_command, "migrate vm --bandwidth=1.5M --max-downtime 300ms -c "
					"qemu+ssh://a/system --connections 4 --ports 5000-5010 "
					"--connect-from destination --link tcp --link-timeout 5 "
					"--verify-memory full --persistent --memory-limit 64M "
					"--cores 3 --compress 9 dest");
	const struct move_request *request = parsed.values;
	g_assert_no_error(parsed.error);
	g_assert_cmpuint(request->bandwidth, ==, 3 * 512 * 1024);
	g_assert_cmpint(request->max_downtime_ms, ==, 300);
	g_assert_cmpstr(request->connect, ==, "qemu+ssh://a/system");
	g_assert_cmpint(request->connections, ==, 4);
	g_assert_cmpuint(request->ports[0], ==, 5000);
	g_assert_cmpuint(request->ports[1], ==, 5010);
	g_assert_cmpint(request->connect_from, ==, MOVE_FROM_DESTINATION);
	g_assert_cmpint(request->link, ==, MOVE_LINK_TCP);
	g_assert_cmpint(request->link_timeout_ms, ==, 5000);
	g_assert_cmpint(request->verify, ==, MOVE_VERIFY_FULL);
	g_assert_true(request->persistent);
	g_assert_cmpuint(request->memory_limit, ==, 64 << 20);
	g_assert_cmpint(request->cores, ==, 3);
	g_assert_cmpint(request->compress, ==, MOVE_COMPRESS_1 + 8);
	g_assert_false(request->undefine_source);
	g_assert_cmpstr(parsed.arguments[1], ==, "dest");
	clear(&parsed);
}

/* An option that may be given several times keeps all its values, in their order, up to its most. */
static void test_lists(void)
{
	struct parsed parsed =
		parse(&migrate_command, "migrate --disk vda=/a vm --disk=vdb=pool:p dest --seed /s "
					"--disks copy --verify-disks full --keep-backing "
					"--remove-source-disks --disk-bandwidth 1M");
	const struct move_request *request = parsed.values;
	g_assert_no_error(parsed.error);
	g_assert_cmpstr(request->disk_places[0], ==, "vda=/a");
	g_assert_cmpstr(request->disk_places[1], ==, "vdb=pool:p");
	g_assert_null(request->disk_places[2]);
	g_assert_cmpstr(request->seeds[0], ==, "/s");
	g_assert_null(request->seeds[1]);
	g_assert_cmpint(request->disks, ==, MOVE_DISKS_COPY);
	g_assert_cmpint(request->verify_disks, ==, MOVE_VERIFY_DISKS_FULL);
	g_assert_cmpuint(request->disk_bandwidth, ==, 1 << 20);
	g_assert_true(request->keep_backing && request->remove_source_disks);
	clear(&parsed);
	g_autoptr(GString) line = g_string_new("migrate vm dest");
	for (int i = 0; i < MOVE_LIST_MAX; i++)
		g_string_append(line, " --seed /x");
	parsed = parse(&migrate_command, line->str);
	g_assert_no_error(parsed.error);
	request = parsed.values;
	g_assert_cmpstr(request->seeds[MOVE_LIST_MAX - 1], ==, "/x");
	g_assert_null(request->seeds[MOVE_LIST_MAX]);
	clear(&parsed);
	g_string_append(line, " --seed /x");
	parsed = parse(&migrate_command, line->str);
	g_assert_error(parsed.error, WATARI_ERROR, WATARI_ERROR_USAGE);
	clear(&parsed);
}

static void test_nonsense(void)
{
	static const struct {
		const char *line, *says;
	} cases[] = {
		{ "migrate a b c", "too many" },
		{ "migrate a b --bandwidth", "needs a value" },
		{ "migrate a b --bandwidth fast", "not a number" },
		{ "migrate a b --bandwidth 0", "--bandwidth" },
		{ "migrate a b --bandwidth -1", "--bandwidth" },
		{ "migrate a b --bandwidth 99999999999999999999", "--bandwidth" },
		{ "migrate a b --max-downtime 1", "between" },
		{ "migrate a b --max-downtime 1y", "not a duration" },
		{ "migrate a b --connections 0", "between" },
		{ "migrate a b --connections 17", "between" },
		{ "migrate a b --connections 2x", "not a number" },
		{ "migrate a b --memory-limit 63M", "at least" },
		{ "migrate a b --memory-limit lots", "not a number" },
		{ "migrate a b --cores 0", "between" },
		{ "migrate a b --cores 257", "between" },
		{ "migrate a b --compress 10", "none of" },
		{ "migrate a b --compress 0", "none of" },
		{ "migrate a b --ports 10-5", "not a range" },
		{ "migrate a b --ports 0", "not a range" },
		{ "migrate a b --ports 1-65536", "not a range" },
		{ "migrate a b --link carrier-pigeon", "none of" },
		{ "migrate a b --link-address ''", "empty" },
		{ "migrate a b --disks some", "none of" },
		{ "migrate a b --disk ''", "empty" },
		{ "migrate a b --json=yes", "takes no value" },
		{ "migrate a b --nothing", "no option --nothing" },
		{ "migrate a b -x", "no option -x" },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct parsed parsed = parse(&migrate_command, cases[i].line);
		g_test_message("%s", cases[i].line);
		g_assert_false(parsed.good);
		g_assert_error(parsed.error, WATARI_ERROR, WATARI_ERROR_USAGE);
		g_assert_cmpint(error_exit_code(parsed.error), ==, WATARI_EXIT_USAGE);
		g_assert_nonnull(strstr(parsed.error->message, cases[i].says));
		clear(&parsed);
	}
}

static void test_help(void)
{
	/* --help wins over what is missing or wrong after it */
	struct parsed parsed = parse(&migrate_command, "migrate --help --nothing");
	g_assert_true(parsed.good && parsed.help);
	clear(&parsed);
	parsed = parse(&migrate_command, "migrate -- -vm --dest");
	g_assert_true(parsed.good);
	g_assert_cmpstr(parsed.arguments[0], ==, "-vm");
	clear(&parsed);
}

static void test_missing(void)
{
	/* migrate may have a plan in their place */
	static const char *const lines[] = { "plan", "plan vm", "rehearse vm" };
	for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
		struct parsed parsed = parse(i < 2 ? &plan_command : &rehearse_command, lines[i]);
		g_assert_false(parsed.good);
		g_assert_nonnull(strstr(parsed.error->message, "missing"));
		clear(&parsed);
	}
}

/* Values become words that give the same values. */
static void test_words(void)
{
	struct parsed parsed = parse(
		&plan_command, "plan vm dest --bandwidth 3M --max-downtime 300ms -c qemu:///x "
			       "--connections 4 --ports 5000-5010 --link tcp --persistent "
			       "--disk vda=/a --disk vdb=/b --output f");
	struct move_command_values usual = { 0 };
	move_defaults(&usual);
	g_assert_no_error(parsed.error);
	g_auto(GStrv) words = options_words(&plan_command, parsed.values, &usual, COMMAND_MIGRATE);
	g_autofree char *line = g_strjoinv(" ", words);
	/* what is the plan's own is left out */
	g_assert_null(strstr(line, "output"));
	g_autofree char *again_line = g_strdup_printf("migrate vm dest %s", line);
	struct parsed again = parse(&migrate_command, again_line);
	g_assert_no_error(again.error);
	const struct move_request *before = parsed.values, *after = again.values;
	g_assert_cmpuint(after->bandwidth, ==, before->bandwidth);
	g_assert_cmpint(after->max_downtime_ms, ==, 300);
	g_assert_cmpstr(after->connect, ==, "qemu:///x");
	g_assert_cmpint(after->connections, ==, 4);
	g_assert_cmpuint(after->ports[1], ==, 5010);
	g_assert_cmpint(after->link, ==, MOVE_LINK_TCP);
	g_assert_true(after->persistent);
	g_assert_cmpstr(after->disk_places[1], ==, "vdb=/b");
	g_assert_null(after->disk_places[2]);
	clear(&parsed);
	clear(&again);
}

static void assert_refused(const struct command *command, const char *line, const char *what,
			   const char *next)
{
	struct parsed parsed = parse(command, line);
	g_assert_false(parsed.good);
	g_autofree char *said = error_what(parsed.error), *then = error_next(parsed.error);
	g_assert_nonnull(strstr(said, what));
	g_assert_nonnull(strstr(then ? then : "", next));
	clear(&parsed);
}

/* What is not there is answered with what may have been meant; a beginning is never taken for the whole. */
static void test_suggestions(void)
{
	const struct command *migrate = &migrate_command;
	assert_refused(migrate, "migrate --max web h", "--max", "--max-downtime, --max-slowdown");
	assert_refused(migrate, "migrate --max-down 1s web h", "--max-down", "--max-downtime");
	assert_refused(migrate, "migrate --max-down=1s web h", "--max-down", "--max-downtime");
	assert_refused(migrate, "migrate --js web h", "no option --js", "--json");
	assert_refused(migrate, "migrate --hel", "no option --hel", "--help");
	assert_refused(migrate, "migrate --badwidth 1M web h", "--badwidth", "--bandwidth?");
	assert_refused(migrate, "migrate --xyzzy web h", "--xyzzy", "watari migrate --help");
	struct parsed parsed = parse(migrate, "migrate web h --bandwidth 100M --quiet");
	g_assert_no_error(parsed.error);
	clear(&parsed);
}

/* Limits are said in the unit of the option. */
static void test_limits(void)
{
	assert_refused(&migrate_command, "migrate --bandwidth 10 web h", "16.0 KiB", "");
	assert_refused(&migrate_command, "migrate --memory-limit 1M web h", "64.0 MiB", "");
	assert_refused(&migrate_command, "migrate --max-downtime 2h web h", "60 min", "");
}

/* ---- what the help says ---- */

/* The option with the value that its own help gives as an example. */
static void try_example(const struct command *command, const struct option_row *row,
			const char *example)
{
	char name[64];
	void *values = g_malloc0(command->values_size);
	char **arguments;
	bool help;
	g_snprintf(name, sizeof name, "%s", command->name);
	g_autofree char *option = g_strdup_printf("--%s=%s", row->name, example);
	char *line[] = { name, option, name, name, NULL };
	g_autoptr(GError) error = NULL;
	if (command->defaults)
		command->defaults(values);
	options_parse(command, command->arguments_most < 2 ? 2 + command->arguments_most : 4, line,
		      values, &arguments, &help, &error);
	if (error)
		g_test_message("%s %s", command->name, option);
	g_assert_no_error(error);
	g_free(values);
}

/* Tries each example behind TEXT, as in "as in 30s or 5m.". Returns how many there were. */
static unsigned try_examples(const struct command *command, const struct option_row *row,
			     const char *text, const char *lead)
{
	unsigned count = 0;
	for (const char *at = strstr(text, lead); at; at = strstr(at, lead)) {
		at += strlen(lead);
		for (bool more = true; more; count++) {
			g_autofree char *word = g_strndup(at, strcspn(at, " ,;"));
			at += strlen(word);
			more = g_str_has_prefix(at, " or ");
			at += more ? strlen(" or ") : 0;
			if (g_str_has_suffix(word, "."))
				word[strlen(word) - 1] = 0;
			if (g_ascii_isdigit(*word)) /* not "all", "found" */
				try_example(command, row, word);
		}
	}
	return count;
}

static void test_examples(void)
{
	unsigned count = 0;
	for (const struct command *const *command = commands; *command; command++) {
		const struct option_row *row;
		for (size_t i = 0; (row = options_next(*command, &i));) {
			if (row->kind == OPTION_FLAG || row->kind == OPTION_TEXT)
				continue;
			count += try_examples(*command, row, row->help, "as in ");
			if (row->kind == OPTION_DURATION || row->kind == OPTION_BYTES ||
			    row->kind == OPTION_NUMBER)
				count += try_examples(*command, row, row->help, "default is ");
		}
	}
	g_assert_cmpuint(count, >, 20);
}

/* ---- the tables ---- */

static void check_rows(const struct command *command)
{
	const struct option_row *row;
	for (size_t i = 0; (row = options_next(command, &i));) {
		g_assert_true((row->kind == OPTION_FLAG) == (row->value == NULL));
		g_assert_true((row->kind == OPTION_WORD) == (row->words != NULL));
		g_assert_true(row->kind != OPTION_DURATION || row->unit > 0);
		g_assert_true(g_str_has_suffix(row->help, "."));
		const struct option_row *other;
		for (size_t j = i; (other = options_next(command, &j));) {
			g_assert_cmpstr(row->name, !=, other->name);
			g_assert_true(!row->letter || row->letter != other->letter);
		}
	}
}

static void test_tables(void)
{
	for (const struct command *const *command = commands; *command; command++) {
		check_rows(*command);
		g_assert_true((*command)->run || (*command)->run_raw);
		g_assert_true(command_find((*command)->name) == *command);
	}
	g_assert_null(command_find("no-such"));
}

static char *written(void (*print)(FILE *out))
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	print(out);
	fclose(out);
	return text;
}

/* Every option is offered by the completion, and bash can read it. */
static void test_completion(void)
{
	char *text = written(options_print_bash_completion);
	for (const struct command *const *command = commands; *command; command++) {
		const struct option_row *row;
		for (size_t i = 0; (row = options_next(*command, &i));) {
			g_autofree char *word = g_strdup_printf("--%s ", row->name);
			g_assert_nonnull(strstr(text, word));
		}
	}
	g_autofree char *path = g_build_filename(g_get_tmp_dir(), "watari-completion.XXXXXX", NULL);
	int fd = g_mkstemp(path);
	g_assert_cmpint(fd, >=, 0);
	g_assert_true(g_file_set_contents(path, text, -1, NULL));
	static const struct {
		const char *words; /* as bash cuts the line; the cursor is in the last one */
		const char *offered;
	} lines[] = {
		{ "migrate --link ''", "auto tcp ssh" },
		{ "migrate --link = t", "tcp" },
		{ "plan --strategy = po", "postcopy" },
		{ "mig", "migrate" },
		{ "help mig", "migrate" },
		{ "migrate ''", "vm-of-" },
		{ "migrate --bandwidth 10M ''", "vm-of-" },
		{ "migrate --bandwidth = 10M ''", "vm-of-" },
		{ "migrate -c x --json vm-of-", "vm-of-" },
		{ "migrate kvm1 :", "vm-of-kvm1" },
		{ "migrate kvm1 : vm", "vm-of-kvm1" },
		{ "migrate kvm1 : web --disk = vda=/x --link ssh --jso", "--json" },
		{ "cancel ''", "moving" },
		{ "status ''", "vm-of-" },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
		g_autofree char *script = g_strdup_printf(
			"bash -c \". %s; _watari_vms() { echo vm-of-$1; }; watari() { echo moving; "
			"}; COMP_WORDS=(watari %s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); "
			"_watari; "
			"echo \\\"${COMPREPLY[@]}\\\"\"",
			path, lines[i].words);
		g_autofree char *out = NULL, *complaints = NULL;
		int status;
		g_assert_true(g_spawn_command_line_sync(script, &out, &complaints, &status, NULL));
		g_assert_cmpstr(complaints, ==, "");
		g_test_message("%s", lines[i].words);
		g_assert_cmpstr(g_strstrip(out), ==, lines[i].offered);
	}
	unlink(path);
	close(fd);
	free(text);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/options/defaults", test_defaults);
	g_test_add_func("/options/values", test_values);
	g_test_add_func("/options/lists", test_lists);
	g_test_add_func("/options/nonsense", test_nonsense);
	g_test_add_func("/options/missing", test_missing);
	g_test_add_func("/options/words", test_words);
	g_test_add_func("/options/help", test_help);
	g_test_add_func("/options/suggestions", test_suggestions);
	g_test_add_func("/options/limits", test_limits);
	g_test_add_func("/options/examples", test_examples);
	g_test_add_func("/options/tables", test_tables);
	g_test_add_func("/options/completion", test_completion);
	return g_test_run();
}
