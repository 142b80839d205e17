/* SPDX-License-Identifier: Apache-2.0 */
/* `watari resolve`: finds out where a VM is after a move that broke off, and ends it right. */
#include "cli/command.h"

#include "base/i18n.h"
#include "base/json.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "conductor/settle/resolve.h"

struct values {
	struct resolve_request request;
	bool json, quiet, verbose;
};

#define AT(member) offsetof(struct values, member)

static const struct option_row rows[] = {
	{ "dry-run", 'n', OPTION_FLAG, AT(request.dry_run),
	  .help = N_("Say what would be done, and do nothing.") },
	{ "ran", 0, OPTION_FLAG, AT(request.ran),
	  .help = N_("The VM ran at the destination and ended there: end the stopped copy at the "
		     "source, whose memory is older than the disks.") },
	{ "never-ran", 0, OPTION_FLAG, AT(request.never_ran),
	  .help = N_("The VM never ran at the destination: let it go on at the source. "
		     "If it did run there, this damages its disks.") },
	{ "rsh", 0, OPTION_TEXT, AT(request.rsh), N_("COMMAND"), .offer = OFFER_COMMAND,
	  .help = N_("The remote shell to use instead of ssh. "
		     "The default is what the move was started with.") },
	{ "remote-watari", 0, OPTION_TEXT, AT(request.remote_watari), N_("COMMAND"),
	  .offer = OFFER_COMMAND,
	  .help = N_("What runs watari at the hosts, as in /opt/bin/watari or 'sudo -n watari'. "
		     "The default is what the move was started with, or found by their PATH.") },
	{ "json", 0, OPTION_FLAG, AT(json), .help = N_("Print one JSON document.") },
	{ "verbose", 'v', OPTION_FLAG, AT(verbose),
	  .help = N_("Say more about what is being done.") },
	{ "quiet", 'q', OPTION_FLAG, AT(quiet), .help = N_("Show no progress.") },
	{ 0 },
};

static void print_resolve_json(const struct move_report *report,
			       const struct resolve_result *result, bool dry_run,
			       const GError *error)
{
	g_autofree char *text = move_report_print(report, error);
	g_autoptr(JsonParser) parser = json_parser_new();
	if (!json_parser_load_from_data(parser, text, -1, NULL))
		return;
	JsonNode *root = json_parser_get_root(parser);
	JsonObject *object = json_node_get_object(root);
	if (result->situation)
		json_object_set_string_member(object, "situation", result->situation);
	else
		json_object_set_null_member(object, "situation");
	json_object_set_boolean_member(object, "acted", result->acted);
	json_object_set_boolean_member(object, "dry_run", dry_run);
	g_autofree char *whole = json_to_string(root, TRUE);
	puts(whole);
}

static void print_text(const struct move_report *report, const struct resolve_result *result,
		       bool dry_run)
{
	if (!result->situation)
		return;
	for (int side = 0; side < MOVE_SIDES; side++)
		/* TRANSLATORS: host; the VM there (“runs”, “is off”, …) */
		printf(_("%s: the VM %s\n"), report->sides[side].address,
		       report_state_words(report->sides[side].vm_state));
	if (dry_run && result->what)
		printf(_("would be done or said: %s\n"), result->what);
	else if (!result->acted && report->outcome != MOVE_ATTENTION)
		puts(_("There is nothing to do."));
}

static int run(const struct command *command, void *data, char **arguments)
{
	struct values *values = data;
	struct progress progress;
	struct move_report report;
	struct resolve_result result;
	g_autoptr(GError) error = NULL;
	values->request.vm = arguments[0];
	values->request.hosts = arguments + 1;
	progress_init(&progress, values->quiet, values->verbose);
	const struct move_observer observer = { .progress = progress_show,
						.note = progress_note,
						.data = &progress };
	resolve_run(&values->request, &observer, &report, &result, &error);
	progress_clear(&progress);
	if (values->json)
		print_resolve_json(&report, &result, values->request.dry_run, error);
	else
		print_text(&report, &result, values->request.dry_run);
	int code = error ? command_complain(error) : WATARI_EXIT_OK;
	move_report_clear(&report);
	return code;
}

const struct command resolve_command = {
	.name = "resolve",
	.summary = N_("End a broken-off move: find the VM, keep exactly one copy running."),
	.arguments = "VM [SOURCE DEST]",
	.arguments_least = 1,
	.arguments_most = 3,
	.offers = { OFFER_MOVE, OFFER_HOST },
	.rows = rows,
	.values_size = sizeof(struct values),
	.run = run,
};
