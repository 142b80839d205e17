/* SPDX-License-Identifier: Apache-2.0 */
/* The options of all moves, and what runs them. */
#include "cli/move.h"

#include "base/i18n.h"
#include "cli/confirm.h"
#include "cli/page.h"
#include "cli/plan_file.h"
#include "cli/progress.h"
#include "cli/report.h"

#include <string.h>

#define AT(member) offsetof(struct move_command_values, member)

static const char *const link_words[] = { "auto", "tcp", "ssh", NULL };
static const char *const from_words[] = { "either", "source", "destination", NULL };
static const char *const verify_words[] = { "none", "sample", "full", NULL };

/* enum move_strategy */
static const char *const strategy_words[] = { "auto", "live", "postcopy", "quick", NULL };

static const char *const disks_words[] = { "auto", "copy", "shared", NULL };
static const char *const verify_disks_words[] = { "none", "full", NULL };

static const char *const compress_words[] = { "auto", "off", "1", "2", "3", "4",
					      "5",    "6",   "7", "8", "9", NULL };

const struct option_row move_rows[] = {
	{ "connect", 'c', OPTION_TEXT, AT(request.connect), N_("URI"),
	  .help = N_("The libvirt URI of the source host.") },
	{ "bandwidth", 0, OPTION_BYTES, AT(request.bandwidth), N_("RATE"), .least = 16384,
	  .help = N_("At most so many bytes a second on the wire, as in 100M. "
		     "Without it there is no cap.") },
	{ "max-downtime", 0, OPTION_DURATION, AT(request.max_downtime_ms), N_("TIME"), .least = 10,
	  .most = 3600000, .unit = 1,
	  .help = N_("The longest time the VM may stand still, as in 300ms or 2s. "
		     "It is never exceeded silently: what does not fit fails, and the VM runs on "
		     "at the source. The default is 100ms."),
	  .only = ~(unsigned) COMMAND_QUICK },
	{ "strategy", 0, OPTION_WORD, AT(request.strategy), N_("HOW"), .words = strategy_words,
	  .help = N_("auto (the default: live as long as what is permitted suffices), live, "
		     "postcopy (as soon as the first pass over memory is done) or quick."),
	  .only = COMMAND_MIGRATE | COMMAND_PLAN },
	{ "allow-postcopy", 0, OPTION_FLAG, AT(request.allow_postcopy),
	  .help = N_("Permit post-copy: the VM runs at the destination before all of its memory is "
		     "there. For that while no single host has the whole VM."),
	  .only = ~(unsigned) COMMAND_QUICK },
	{ "max-slowdown", 0, OPTION_NUMBER, AT(request.max_slowdown), N_("PERCENT"), .least = 1,
	  .most = 99,
	  .help = N_("Permit QEMU to slow the VM down by so much, 1 to 99, when it changes its "
		     "memory faster than the link carries it. "
		     "Without it the VM is never slowed down."),
	  .only = ~(unsigned) COMMAND_QUICK },
	{ "max-stop", 0, OPTION_DURATION, AT(request.max_stop_ms), N_("TIME"), .least = 100,
	  .most = 86400000, .unit = 1000,
	  .help = N_("The longest time the VM may stand still, as in 30s or 5m. "
		     "The move is given up as soon as it is clear that this will not do, and the "
		     "VM runs on at the source. Without it there is no limit."),
	  .only = COMMAND_QUICK | COMMAND_MIGRATE },
	{ "prewarm", 0, OPTION_FLAG, AT(request.prewarm),
	  .help = N_("Copy the memory once while the VM runs, and stop it for what has changed "
		     "since. The stop is shorter, the whole takes longer."),
	  .only = COMMAND_QUICK },
	{ "through", 0, OPTION_TEXT, AT(request.through), N_("DIRECTORY"), .offer = OFFER_FILE,
	  .help = N_("Carry the state in a file of this directory, which both hosts see under the "
		     "same path, in place of a link between the hosts. "
		     "The disks must be shared."),
	  .only = COMMAND_QUICK },
	{ "yes", 'y', OPTION_FLAG, AT(request.yes),
	  .help = N_("Do not ask whether the VM may stand still."),
	  .only = COMMAND_QUICK | COMMAND_MIGRATE },
	{ "connections", 0, OPTION_NUMBER, AT(request.connections), N_("NUMBER"), .least = 1,
	  .most = 16, .help = N_("How many connections the link has. The default is 2.") },
	{ "ports", 0, OPTION_PORTS, AT(request.ports), N_("FIRST-LAST"),
	  .help = N_("The ports the listening side may use. The default is any free port.") },
	{ "link-address", 0, OPTION_TEXT, AT(request.link_address), N_("ADDRESS"),
	  .offer = OFFER_HOST,
	  .help = N_("The address of the listening side as the other host reaches it. "
		     "The default is found from the connection to that host.") },
	{ "connect-from", 0, OPTION_WORD, AT(request.connect_from), N_("SIDE"), .words = from_words,
	  .help = N_("Which host opens the connections of the link: source, destination or "
		     "either (the default: first the source, then the other way round).") },
	{ "link", 0, OPTION_WORD, AT(request.link), N_("KIND"), .words = link_words,
	  .help = N_("How the link goes: tcp, ssh (through the connections that this program has "
		     "to both hosts) or auto (the default: tcp, and ssh if that fails).") },
	{ "link-timeout", 0, OPTION_DURATION, AT(request.link_timeout_ms), N_("TIME"),
	  .least = 1000, .most = 86400000, .unit = 1000,
	  .help = N_("How long nothing may arrive over the link before the move is given up. "
		     "The default is 60s.") },
	{ "compress", 0, OPTION_WORD, AT(request.compress), N_("HOW"), .words = compress_words,
	  .help = N_("What is tried to send less: auto (the default: as much as pays on this link "
		     "and these hosts), off (everything goes as it is), or the most effort that "
		     "may be taken, 1 to 9.") },
	{ "cores", 0, OPTION_NUMBER, AT(request.cores), N_("NUMBER"), .least = 1, .most = 256,
	  .help = N_("How many threads may encode or decode at each host. "
		     "The default leaves the guests' cores alone.") },
	{ "memory-limit", 0, OPTION_BYTES, AT(request.memory_limit), N_("SIZE"), .least = 64 << 20,
	  .help = N_("The memory that the program at each host may take, 64M or more. "
		     "The default is 512M.") },
	{ "verify-memory", 0, OPTION_WORD, AT(request.verify), N_("HOW"), .words = verify_words,
	  .help = N_("Read the memory of both stopped QEMUs before the hand-over and compare it: "
		     "none (the default), sample or full. This lengthens the downtime.") },
	{ "disks", 0, OPTION_WORD, AT(request.disks), N_("HOW"), .words = disks_words,
	  .help = N_("Which disks move: auto (the default: what is proven to be shared stays where "
		     "it is, the rest is copied), copy (every disk that is written to is copied) "
		     "or shared (nothing is copied; that both hosts see the same disks is "
		     "believed where it cannot be proven).") },
	{ "disk", 0, OPTION_LIST, AT(request.disk_places), N_("DISK=PLACE"), .most = MOVE_LIST_MAX,
	  .help = N_("Copy the disk (vda) to another place: a file or block device at the "
		     "destination, as in vda=/srv/web.qcow2, or a storage pool of its libvirt, as "
		     "in vda=pool:images. "
		     "May be given several times.") },
	{ "disk-bandwidth", 0, OPTION_BYTES, AT(request.disk_bandwidth), N_("RATE"), .least = 65536,
	  .help = N_(
		  "Copy at most so many bytes a second of the disks, as in 50M, so that the copy "
		  "yields to the guests' own use of them. "
		  "Without it there is no cap.") },
	{ "keep-backing", 0, OPTION_FLAG, AT(request.keep_backing),
	  .help = N_("Copy only the top image of each disk, over the backing file that is already "
		     "at the destination under the same path. "
		     "The default copies the whole content into one image.") },
	{ "seed", 0, OPTION_LIST, AT(request.seeds), N_("[FORMAT:]PATH"), .most = MOVE_LIST_MAX,
	  .offer = OFFER_FILE,
	  .help = N_("An image at the destination, such as a template, that holds much of what the "
		     "disks and the memory hold. "
		     "Without a format, as in qcow2:/srv/base.qcow2, the bytes of the file are "
		     "used as they are. "
		     "May be given several times.") },
	{ "verify-disks", 0, OPTION_WORD, AT(request.verify_disks), N_("HOW"),
	  .words = verify_disks_words,
	  .help = N_("Read the copied disks at both hosts before the hand-over and compare them: "
		     "none (the default; what was written is compared all the same) or full.") },
	{ "offline", 0, OPTION_FLAG, AT(offline),
	  .help = N_("Move a VM that is off: its disks, then its definition. "
		     "It cannot be started meanwhile."),
	  .only = COMMAND_MIGRATE },
	{ "remove-source-disks", 0, OPTION_FLAG, AT(request.remove_source_disks),
	  .help = N_("Remove the images that were copied from the source, once the VM is at the "
		     "destination. "
		     "Without it they stay as they were when the VM left.") },
	{ "network", 0, OPTION_LIST, AT(request.networks), N_("OLD=NEW"), .most = MOVE_LIST_MAX,
	  .help = N_("The network, bridge or card OLD, which the VM uses at the source, is called "
		     "NEW at the destination, as in br-a=br-b. "
		     "May be given several times.") },
	{ "listen", 0, OPTION_LIST, AT(request.listens), N_("OLD=NEW"), .most = MOVE_LIST_MAX,
	  .help = N_("What of the VM listens on the address or port OLD (display, serial line, "
		     "channel) listens on NEW at the destination, as in 10.0.0.1=10.0.0.2 or "
		     "5905=5906. "
		     "May be given several times.") },
	{ "no-secrets", 0, OPTION_FLAG, AT(request.secrets_stay),
	  .help = N_(
		  "Carry no secrets (passphrases of disks, keys of Ceph and iSCSI) to libvirt at "
		  "the destination: it must have them. "
		  "The default carries those that it does not have.") },
	{ "persistent", 0, OPTION_FLAG, AT(request.persistent),
	  .help = N_("Define the VM at the destination. "
		     "Without this option and the next one, a persistent VM is defined at the "
		     "destination and no longer at the source.") },
	{ "undefine-source", 0, OPTION_FLAG, AT(request.undefine_source),
	  .help = N_("Remove the VM's definition from the source.") },
	{ "trust", 0, OPTION_LIST, AT(request.trusted), N_("NAME"), .most = MOVE_LIST_MAX,
	  .help = N_("Take this disk (vda), kernel, initrd, dtb, loader or acpi for the same at "
		     "both hosts, although its content differs or cannot be compared. "
		     "If it is another one, the VM is damaged. May be given several times.") },
	{ "accept", 0, OPTION_LIST, AT(request.accept), N_("CHECK"), .most = MOVE_LIST_MAX,
	  .offer = OFFER_CHECK,
	  .help = N_("Move although this check refuses, by its name as “watari plan” prints it, as "
		     "in memory or network:br0. "
		     "Checks that keep the VM and its disks safe cannot be overruled. "
		     "May be given several times.") },
	{ "rsh", 0, OPTION_TEXT, AT(request.rsh), N_("COMMAND"), .offer = OFFER_COMMAND,
	  .help = N_("The remote shell to use instead of ssh. "
		     "It gets the host and a command line, as with rsync and git.") },
	{ "remote-watari", 0, OPTION_TEXT, AT(request.remote_watari), N_("COMMAND"),
	  .offer = OFFER_COMMAND,
	  .help = N_("What runs watari at the hosts, as in /opt/bin/watari or 'sudo -n watari'. "
		     "The default is found by their PATH.") },
	{ "max-traffic", 0, OPTION_BYTES, AT(request.max_traffic), N_("SIZE"), .least = 1 << 20,
	  .help = N_("Copy no more than about so much, as in 500M. "
		     "Without it nearly all memory is copied once."),
	  .only = COMMAND_REHEARSE },
	{ "max-disk", 0, OPTION_BYTES, AT(request.max_disk), N_("SIZE"), .least = 1 << 20,
	  .help = N_("Copy no more than so much of the disks, as in 2G. "
		     "The default is 256M, and no longer than 10 seconds."),
	  .only = COMMAND_REHEARSE },
	{ "max-time", 0, OPTION_DURATION, AT(request.max_time_ms), N_("TIME"), .least = 1000,
	  .most = 86400000, .unit = 1000, .help = N_("Copy for no longer than this, as in 30s."),
	  .only = COMMAND_REHEARSE },
	{ "output", 'o', OPTION_TEXT, AT(output), N_("FILE"), .offer = OFFER_FILE,
	  .help = N_("Write the plan to this file, for “watari migrate --plan FILE”."),
	  .only = COMMAND_PLAN },
	{ "plan", 0, OPTION_TEXT, AT(plan), N_("FILE"), .offer = OFFER_FILE,
	  .help = N_(
		  "Carry out the plan in this file: VM, destination and options are those of the "
		  "plan. "
		  "Refused if what it was made for has changed meanwhile."),
	  .only = COMMAND_MIGRATE | COMMAND_QUICK },
	{ "json", 0, OPTION_FLAG, AT(json),
	  .help = N_("Print the closing report as one JSON document.") },
	{ "verbose", 'v', OPTION_FLAG, AT(verbose),
	  .help = N_("Say more about what is being done.") },
	{ "quiet", 'q', OPTION_FLAG, AT(quiet), .help = N_("Show no progress.") },
	{ 0 },
};

void move_defaults(void *data)
{
	struct move_command_values *values = data;
	values->request.connections = 2;
	values->request.memory_limit = 512 << 20;
	values->request.max_downtime_ms = 100;
	values->request.link_timeout_ms = 60000;
}

static void print_move_json(const struct move_report *report, const GError *error)
{
	g_autofree char *text = move_report_print(report, error);
	puts(text);
}

/* ---- with a plan ---- */

/* How it is shown may be said beside it; what is done may not. */
static bool check_alone(const struct command *command, const struct move_command_values *values,
			char **arguments, GError **error)
{
	struct move_command_values rest = *values, usual = { 0 };
	move_defaults(&usual);
	rest.plan = NULL;
	rest.json = rest.quiet = rest.verbose = false;
	rest.request.kind = usual.request.kind;
	g_auto(GStrv) words = options_words(command, &rest, &usual, ~0U);
	if (!*arguments && !*words)
		return true;
	return error_set(error, WATARI_ERROR_USAGE, _("Leave it out, or make a new plan with it."),
			 _("“%s” beside --plan: the plan says that already"),
			 *arguments ? *arguments : *words);
}

/* VALUES anew from the plan; its strings live in *PLAN and *LINE. */
static bool read_plan(const struct command *command, struct move_command_values *values,
		      JsonObject **plan, char ***line, char ***arguments, GError **error)
{
	struct move_command_values planned = { 0 };
	bool help;
	*plan = plan_file_read(values->plan, error);
	if (!*plan)
		return false;
	*line = plan_file_words(*plan, command->name);
	move_defaults(&planned);
	if (!options_parse(command, (int) g_strv_length(*line), *line, &planned, arguments, &help,
			   error))
		return false;
	if (help)
		return error_set(error, WATARI_ERROR_USAGE,
				 _("Make one: watari plan --output FILE VM DEST."),
				 _("the plan %s cannot be used: %s"), values->plan,
				 _("it holds no plan"));
	planned.request.kind = planned.offline ? MOVE_OFFLINE : values->request.kind;
	planned.json = values->json;
	planned.quiet = values->quiet;
	planned.verbose = values->verbose;
	planned.request.plan = *plan;
	*values = planned;
	return true;
}

/* ---- what has no meaning ---- */

#define KIND(kind) (1U << (kind))
#define LIVE_KINDS (KIND(MOVE_LIVE) | KIND(MOVE_PLAN) | KIND(MOVE_REHEARSAL))

/* Options that act in some kinds of a move only. In the others they would be promises that nobody
 * keeps, so they are refused. */
static const struct {
	const char *name;
	unsigned kinds;
	const char *next;
} meanings[] = {
	{ "max-downtime", LIVE_KINDS,
	  N_("Leave it out; --max-stop limits the stop of a quick move.") },
	{ "max-stop", KIND(MOVE_QUICK), N_("Give --max-downtime, or --strategy quick with it.") },
	{ "max-slowdown", LIVE_KINDS, N_("Leave it out.") },
	{ "allow-postcopy", LIVE_KINDS, N_("Leave it out.") },
	{ "verify-memory", LIVE_KINDS | KIND(MOVE_QUICK), N_("Leave it out.") },
	{ "yes", LIVE_KINDS | KIND(MOVE_QUICK), N_("Leave it out.") },
};

static unsigned kind_bit(const struct move_command_values *values)
{
	const struct move_request *request = &values->request;
	return KIND(request->strategy == MOVE_STRATEGY_QUICK ? MOVE_QUICK : request->kind);
}

static bool is_word_of(const char *word, const char *name)
{
	size_t length = strlen(name);
	return strncmp(word + 2, name, length) == 0 && strchr("=", word[2 + length]);
}

static bool check_meaning(const struct command *command, const struct move_command_values *values,
			  GError **error)
{
	struct move_command_values usual = { 0 };
	move_defaults(&usual);
	g_auto(GStrv) words = options_words(command, values, &usual, ~0U);
	for (char **word = words; *word; word++)
		for (size_t i = 0; i < G_N_ELEMENTS(meanings); i++)
			if (is_word_of(*word, meanings[i].name) &&
			    !(meanings[i].kinds & kind_bit(values)))
				return error_set(error, WATARI_ERROR_USAGE, _(meanings[i].next),
						 _("--%s has no meaning for this kind of move"),
						 meanings[i].name);
	return true;
}

/* ---- the work ---- */

static bool write_plan(const struct command *command, const struct move_command_values *values,
		       const struct move_report *report, GError **error)
{
	struct move_command_values usual = { 0 };
	move_defaults(&usual);
	struct move_command_values plain = *values;
	plain.json = plain.quiet = plain.verbose = false;
	g_auto(GStrv) words = options_words(command, &plain, &usual, COMMAND_MIGRATE);
	return plan_file_write(values->output, &values->request, words, report, error);
}

static int show_report(struct move_command_values *values, struct move_report *report,
		       GError *error)
{
	if (values->json)
		print_move_json(report, error);
	else if (values->request.kind == MOVE_PLAN || values->request.kind == MOVE_REHEARSAL)
		page_print(report, &values->request, stdout);
	else
		report_print(report, stdout);
	return error ? command_complain(error) : WATARI_EXIT_OK;
}

static int carry_out_command(const struct command *command, struct move_command_values *values)
{
	struct progress progress;
	struct move_report report;
	g_autoptr(GError) error = NULL;
	values->request.faults = g_getenv("WATARI_TEST_FAULTS");
	progress_init(&progress, values->quiet, values->verbose);
	const struct move_observer observer = { .progress = progress_show,
						.note = progress_note,
						.confirm = confirm_ask,
						.data = &progress };
	if (move_run(&values->request, &observer, &report, &error) && values->output)
		write_plan(command, values, &report, &error);
	progress_clear(&progress);
	int code = show_report(values, &report, error);
	move_report_clear(&report);
	return code;
}

int move_command_run(const struct command *command, struct move_command_values *values,
		     char **arguments)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(JsonObject) plan = NULL;
	g_auto(GStrv) line = NULL;
	if (values->plan && (!check_alone(command, values, arguments, &error) ||
			     !read_plan(command, values, &plan, &line, &arguments, &error)))
		return command_complain_json(error, values->json);
	if (!options_count(command, (int) g_strv_length(arguments), 2, &error) ||
	    !check_meaning(command, values, &error))
		return command_complain_json(error, values->json);
	values->request.vm = arguments[0];
	values->request.destination = arguments[1];
	return carry_out_command(command, values);
}
