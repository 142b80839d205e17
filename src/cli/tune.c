/* SPDX-License-Identifier: Apache-2.0 */
/* `watari tune`: changes the limits of a running move. */
#include "cli/moves.h"

#include "base/i18n.h"
#include "base/json.h"
#include "base/unit.h"
#include "cli/command.h"
#include "conductor/core/limits.h"

struct values {
	uint64_t bandwidth;
	int64_t ceiling_ms, link_timeout_ms;
	bool no_postcopy, json;
};

#define AT(member) offsetof(struct values, member)

static const struct option_row rows[] = {
	{ "bandwidth", 0, OPTION_BYTES, AT(bandwidth), N_("RATE"), .least = TUNE_LEAST_BANDWIDTH,
	  .help = N_("From now on at most so many bytes a second on the wire, as in 50M; more or "
		     "less than before.") },
	{ "max-downtime", 0, OPTION_DURATION, AT(ceiling_ms), N_("TIME"),
	  .least = TUNE_LEAST_CEILING_MS, .most = 3600000, .unit = 1,
	  .help = N_("The longest time the VM may stand still, as in 200ms; not longer than "
		     "before.") },
	{ "link-timeout", 0, OPTION_DURATION, AT(link_timeout_ms), N_("TIME"),
	  .least = TUNE_LEAST_TIMEOUT_MS, .most = 86400000, .unit = 1000,
	  .help = N_("How long the link may be broken before the move is given up; not longer "
		     "than before.") },
	{ "no-postcopy", 0, OPTION_FLAG, AT(no_postcopy),
	  .help = N_("Take the permission for post-copy back, unless it has begun.") },
	{ "json", 0, OPTION_FLAG, AT(json), .help = N_("Print one JSON document.") },
	{ 0 },
};

static void print_answer(JsonObject *answer, const char *vm, bool json)
{
	JsonObject *limits = json_get_object(answer, "limits");
	if (json) {
		moves_print_json(answer);
		return;
	}
	g_autofree char *ceiling =
		unit_format_duration_ms(limits ? json_get_int(limits, "max_downtime_ms", 0) : 0);
	int64_t cap = limits ? json_get_int(limits, "bandwidth", 0) : 0;
	g_autofree char *rate = cap > 0 ? unit_format_rate((double) cap) : g_strdup(_("no cap"));
	/* TRANSLATORS: VM, a duration, a rate or "no cap" */
	printf(_("%s from now on: stopped for %s at most, on the wire %s.\n"), vm, ceiling, rate);
}

static bool tune(const struct values *values, const char *vm, GError **error)
{
	const struct limits_wish wish = {
		.has_bandwidth = values->bandwidth > 0,
		.has_ceiling = values->ceiling_ms > 0,
		.has_link_timeout = values->link_timeout_ms > 0,
		.no_postcopy = values->no_postcopy,
		.bandwidth = values->bandwidth,
		.ceiling_ms = values->ceiling_ms,
		.link_timeout_ms = values->link_timeout_ms,
	};
	struct limits_wish checked;
	g_autoptr(JsonObject) message = limits_describe_wish(&wish);
	if (!limits_parse(message, &checked, error))
		return false;
	struct client_move *move = client_find(NULL, vm, error);
	struct client *client = move ? client_open(NULL, move->move->id, error) : NULL;
	g_autoptr(JsonObject) answer =
		client ? client_ask(client, json_object_ref(message), error) : NULL;
	bool good = answer && moves_check_answer(answer, error);
	if (good)
		print_answer(answer, move->move->vm_name, values->json);
	client_close(client);
	client_move_free(move);
	return good;
}

static int run(const struct command *command, void *data, char **arguments)
{
	const struct values *values = data;
	g_autoptr(GError) error = NULL;
	if (tune(values, arguments[0], &error))
		return WATARI_EXIT_OK;
	return moves_complain(&error, values->json);
}

const struct command tune_command = {
	.name = "tune",
	.summary = N_("Change the limits of a running move."),
	.arguments = "VM",
	.arguments_least = 1,
	.arguments_most = 1,
	.offers = { OFFER_MOVE, OFFER_NOTHING },
	.rows = rows,
	.values_size = sizeof(struct values),
	.run = run,
};
