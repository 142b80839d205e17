/* SPDX-License-Identifier: Apache-2.0 */
/* The move to be ended is found by its hosts, never by being the last one alone. See which_move.h. */
#include "conductor/endings/which_move.h"

#include "journal/conductor_process.h"
#include "conductor/endings/move_hosts.h"

#include "base/i18n.h"
#include "base/json.h"
#include "host/machine.h"

#include <string.h>

/* ---- who is asked ---- */

struct asking_hosts {
	struct journey *journey;
	struct move_host hosts[JOURNEY_SIDES];
};

static void find_vm(struct journey *journey, struct host *host)
{
	char uuid[VIR_UUID_STRING_BUFLEN];
	virDomainPtr domain = NULL;
	if (g_uuid_string_is_valid(journey->vm))
		domain = virDomainLookupByUUIDString(host->connection, journey->vm);
	if (!domain)
		domain = virDomainLookupByName(host->connection, journey->vm);
	if (domain && virDomainGetUUIDString(domain, uuid) == 0 && !journey->report->vm_uuid) {
		journey->report->vm_name = g_strdup(virDomainGetName(domain));
		journey->report->vm_uuid = g_strdup(uuid);
	}
	if (domain)
		virDomainFree(domain);
}

static void ask_host(struct asking_hosts *asking, enum journey_side side)
{
	struct journey *journey = asking->journey;
	struct guard *guard = guard_new(NULL);
	struct host *host = guard ? host_open_guarded(guard, GUARD_SOURCE, &journey->shell,
						      journey->addresses[side], NULL)
				  : NULL;
	if (host) {
		machine_read(&journey->shell, host);
		asking->hosts[side].uuid = g_strdup(host->uuid);
		asking->hosts[side].machine = g_strdup(host->machine);
		find_vm(journey, host);
	}
	host_free(host);
	guard_free(guard);
}

static void call_ask_hosts(void *data)
{
	for (int side = 0; side < JOURNEY_SIDES; side++)
		ask_host(data, side);
}

static bool set_addresses(struct journey *journey, const char *source, const char *destination,
			  GError **error)
{
	const char *const texts[] = { source, destination };
	for (int side = 0; side < JOURNEY_SIDES; side++) {
		/* The journal writes the local host as it was given: as nothing. */
		const char *text = texts[side] && *texts[side] ? texts[side] : NULL;
		journey->addresses[side] = host_address_parse(text, error);
		if (!journey->addresses[side])
			return false;
		journey->report->sides[side].address = g_strdup(journey->addresses[side]->text);
	}
	return true;
}

/* ---- the rows ---- */

/* A name may belong to several VMs. */
static bool is_of_vm(const struct journey *journey, const struct journal_move *move)
{
	return !journey->report->vm_uuid || g_str_equal(journey->report->vm_uuid, move->vm_uuid);
}

static struct journal_move *take_matching(struct journey *journey, GPtrArray *rows,
					  const struct move_host hosts[JOURNEY_SIDES])
{
	for (guint i = 0; i < rows->len; i++) {
		const struct journal_move *row = rows->pdata[i];
		bool same = is_of_vm(journey, row);
		for (int side = 0; side < JOURNEY_SIDES && same; side++)
			same = move_hosts_match(row, side, &hosts[side],
						journey->report->sides[side].address);
		if (same)
			return g_ptr_array_steal_index(rows, i);
	}
	return NULL;
}

static bool choose_by_hosts(struct journey *journey, char **texts, GPtrArray *rows,
			    struct journal_move **move, GError **error)
{
	struct asking_hosts asking = { .journey = journey };
	if (!set_addresses(journey, texts[0], texts[1], error))
		return false;
	journey_call(journey, call_ask_hosts, &asking);
	*move = take_matching(journey, rows, asking.hosts);
	if (!*move && rows->len > 0)
		journey_note(journey, true,
			     _("The journal on this machine knows moves of “%s”, but none from %s "
			       "to %s, so what it says is left alone."),
			     journey->vm, journey->report->sides[JOURNEY_SOURCE].address,
			     journey->report->sides[JOURNEY_DESTINATION].address);
	for (int side = 0; side < JOURNEY_SIDES; side++) {
		if (!*move)
			journey->host_uuids[side] = g_strdup(asking.hosts[side].uuid);
		move_host_clear(&asking.hosts[side]);
	}
	return true;
}

static bool ask_which(struct journey *journey, const GPtrArray *rows, GError **error)
{
	g_autoptr(GString) names = g_string_new(NULL);
	for (guint i = 0; i < rows->len; i++) {
		const struct journal_move *row = rows->pdata[i];
		g_string_append_printf(names, "%s%s (%s → %s)", i ? ", " : "", row->id,
				       *row->source ? row->source : _("this machine"),
				       *row->destination ? row->destination : _("this machine"));
	}
	return error_set(error, WATARI_ERROR_REFUSED,
			 _("Name both hosts, the one it came from first (watari resolve VM SOURCE "
			   "DESTINATION), or the move by its id in place of the VM."),
			 _("%u moves of “%s” have no end: %s"), rows->len, journey->vm, names->str);
}

static bool choose_alone(struct journey *journey, GPtrArray *rows, struct journal_move **move,
			 GError **error)
{
	g_autoptr(GPtrArray) open = journal_list_unfinished(journey->journal, journey->vm, NULL);
	if (open->len > 1)
		return ask_which(journey, open, error);
	if (open->len == 1)
		*move = g_ptr_array_steal_index(open, 0);
	else if (rows->len > 0)
		*move = g_ptr_array_steal_index(rows, 0);
	else
		return error_set(error, WATARI_ERROR_REFUSED,
				 _("Name both hosts, the one it came from first: watari resolve "
				   "VM SOURCE DESTINATION."),
				 _("the journal on this machine knows no move of “%s”"),
				 journey->vm);
	return set_addresses(journey, (*move)->source, (*move)->destination, error);
}

/* ---- what the other rows say of it ---- */

static bool is_driven(struct journey *journey, const char *vm, GError **error)
{
	g_autoptr(GPtrArray) open = journal_list_unfinished(journey->journal, vm, NULL);
	for (guint i = 0; i < open->len; i++) {
		const struct journal_move *row = open->pdata[i];
		if (!conductor_lives(row))
			continue;
		error_set(error, WATARI_ERROR_REFUSED,
			  _("Wait for its end (watari watch), or cancel it with “watari cancel” "
			    "first."),
			  _("the move of %s is still being driven, by process %d"), row->vm_name,
			  (int) row->pid);
		return true;
	}
	return false;
}

/* It may have run elsewhere since, so nothing that was proven then is true now. */
static bool has_moved_since(struct journey *journey, const struct journal_move *move)
{
	g_autoptr(GPtrArray) rows = journal_list(journey->journal, move->vm_uuid, -1, NULL);
	for (guint i = 0; i < rows->len; i++) {
		const struct journal_move *row = rows->pdata[i];
		bool may_have_moved =
			!row->outcome || g_str_equal(row->outcome, "attention") ||
			g_str_equal(row->outcome, journey_outcome_name(JOURNEY_MIGRATED));
		if (row->number > move->number && may_have_moved)
			return true;
	}
	return false;
}

/* What the row knows of its machines is asked of every connection from here on. */
static void expect_machines(struct journey *journey, const struct journal_move *move)
{
	struct move_host hosts[JOURNEY_SIDES];
	move_hosts_read(move, hosts);
	for (int side = 0; side < JOURNEY_SIDES; side++) {
		g_free(journey->host_uuids[side]);
		journey->host_uuids[side] = g_strdup(hosts[side].uuid);
		move_host_clear(&hosts[side]);
	}
}

/* The way to the hosts and to watari there: as the user says now, else as the move had it. */
static bool choose_shell(struct journey *journey, const struct resolve_request *request,
			 const struct journal_move *move, GError **error)
{
	g_autoptr(JsonObject) options = json_parse_kept(move ? move->options : NULL);
	const char *rsh = options ? json_get_string(options, "rsh", NULL) : NULL;
	const char *watari = options ? json_get_string(options, "remote_watari", NULL) : NULL;
	rsh = request->rsh ? request->rsh : rsh;
	journey->shell.watari =
		request->remote_watari ? request->remote_watari : g_intern_string(watari);
	g_clear_pointer(&journey->shell.rsh, g_strfreev);
	if (!rsh || g_shell_parse_argv(rsh, NULL, &journey->shell.rsh, error))
		return true;
	error_classify(error, WATARI_ERROR_USAGE, NULL);
	error_prefix(error, "--rsh");
	return false;
}

static bool choose(struct journey *journey, const struct resolve_request *request,
		   struct journal_move **move, GError **error)
{
	g_autoptr(GError) failure = NULL;
	char **hosts = request->hosts;
	guint count = hosts ? g_strv_length(hosts) : 0;
	if (count == 1)
		return error_set(error, WATARI_ERROR_USAGE,
				 _("Name both, the one it came from first."),
				 _("one host is not enough"));
	journey->journal = journal_open(NULL, &failure);
	g_autoptr(GPtrArray) rows = journal_list(journey->journal, journey->vm, -1, &failure);
	if (failure) {
		g_autofree char *what = error_what(failure);
		journey_note(journey, true, "%s", what);
	}
	/* the hosts that are named must be asked before it is clear which move it was */
	if (is_driven(journey, journey->vm, error) ||
	    !choose_shell(journey, request, rows->len > 0 ? rows->pdata[0] : NULL, error))
		return false;
	return count == 2 ? choose_by_hosts(journey, hosts, rows, move, error)
			  : choose_alone(journey, rows, move, error);
}

bool which_move_choose(struct journey *journey, const struct resolve_request *request,
		       struct journal_move **move, GError **error)
{
	*move = NULL;
	if (!choose(journey, request, move, error))
		return false;
	/* (named by an id, it is the only one that was looked at) */
	if (is_driven(journey, *move ? (*move)->vm_uuid : journey->report->vm_uuid, error))
		return false;
	if (!*move)
		return true;
	if (!choose_shell(journey, request, *move, error))
		return false;
	expect_machines(journey, *move);
	journey->outdated = has_moved_since(journey, *move);
	if (journey->outdated)
		journey_note(
			journey, true,
			_("“%s” has been moved again since that move (%s), so what the journal "
			  "says of it then is not taken for true any more."),
			(*move)->vm_name, (*move)->id);
	return true;
}
