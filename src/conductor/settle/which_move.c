/* SPDX-License-Identifier: Apache-2.0 */
/* The move to be ended is found by its hosts, never by being the last one alone. See which_move.h. */
#include "conductor/settle/which_move.h"

#include "journal/conductor_process.h"
#include "conductor/settle/move_hosts.h"

#include "base/i18n.h"
#include "base/json.h"
#include "host/machine.h"

#include <string.h>

/* ---- who is asked ---- */

struct asking_hosts {
	struct move *move;
	struct move_host hosts[MOVE_SIDES];
};

static void find_vm_at_hosts(struct move *move, struct host *host)
{
	char uuid[VIR_UUID_STRING_BUFLEN];
	virDomainPtr domain = NULL;
	if (g_uuid_string_is_valid(move->vm))
		domain = virDomainLookupByUUIDString(host->connection, move->vm);
	if (!domain)
		domain = virDomainLookupByName(host->connection, move->vm);
	if (domain && virDomainGetUUIDString(domain, uuid) == 0 && !move->report->vm_uuid) {
		move->report->vm_name = g_strdup(virDomainGetName(domain));
		move->report->vm_uuid = g_strdup(uuid);
	}
	if (domain)
		virDomainFree(domain);
}

static void ask_host(struct asking_hosts *asking, enum move_side side)
{
	struct move *move = asking->move;
	struct guard *guard = guard_new(NULL);
	struct host *host = guard ? host_open_guarded(guard, GUARD_SOURCE, &move->shell,
						      move->addresses[side], NULL)
				  : NULL;
	if (host) {
		machine_read(&move->shell, host);
		asking->hosts[side].uuid = g_strdup(host->uuid);
		asking->hosts[side].machine = g_strdup(host->machine);
		find_vm_at_hosts(move, host);
	}
	host_free(host);
	guard_free(guard);
}

static void call_ask_hosts(void *data)
{
	for (int side = 0; side < MOVE_SIDES; side++)
		ask_host(data, side);
}

static bool set_addresses(struct move *move, const char *source, const char *destination,
			  GError **error)
{
	const char *const texts[] = { source, destination };
	for (int side = 0; side < MOVE_SIDES; side++) {
		/* The journal writes the local host as it was given: as nothing. */
		const char *text = texts[side] && *texts[side] ? texts[side] : NULL;
		move->addresses[side] = host_address_parse(text, error);
		if (!move->addresses[side])
			return false;
		move->report->sides[side].address = g_strdup(move->addresses[side]->text);
	}
	return true;
}

/* ---- the rows ---- */

/* A name may belong to several VMs. */
static bool is_of_vm(const struct move *move, const struct journal_move *row)
{
	return !move->report->vm_uuid || g_str_equal(move->report->vm_uuid, row->vm_uuid);
}

static struct journal_move *take_matching(struct move *move, GPtrArray *rows,
					  const struct move_host hosts[MOVE_SIDES])
{
	for (guint i = 0; i < rows->len; i++) {
		const struct journal_move *row = rows->pdata[i];
		bool same = is_of_vm(move, row);
		for (int side = 0; side < MOVE_SIDES && same; side++)
			same = move_hosts_match(row, side, &hosts[side],
						move->report->sides[side].address);
		if (same)
			return g_ptr_array_steal_index(rows, i);
	}
	return NULL;
}

static bool choose_by_hosts(struct move *move, char **texts, GPtrArray *rows,
			    struct journal_move **row, GError **error)
{
	struct asking_hosts asking = { .move = move };
	if (!set_addresses(move, texts[0], texts[1], error))
		return false;
	move_call(move, call_ask_hosts, &asking);
	*row = take_matching(move, rows, asking.hosts);
	if (!*row && rows->len > 0)
		move_note(move, true,
			  _("The journal on this machine knows moves of “%s”, but none from %s "
			    "to %s, so what it says is left alone."),
			  move->vm, move->report->sides[MOVE_SOURCE].address,
			  move->report->sides[MOVE_DESTINATION].address);
	for (int side = 0; side < MOVE_SIDES; side++) {
		if (!*row)
			move->host_uuids[side] = g_strdup(asking.hosts[side].uuid);
		move_host_clear(&asking.hosts[side]);
	}
	return true;
}

static bool ask_which(struct move *move, const GPtrArray *rows, GError **error)
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
			 _("%u moves of “%s” have no end: %s"), rows->len, move->vm, names->str);
}

static bool choose_alone(struct move *move, GPtrArray *rows, struct journal_move **row,
			 GError **error)
{
	g_autoptr(GPtrArray) open = journal_list_unfinished(move->journal, move->vm, NULL);
	if (open->len > 1)
		return ask_which(move, open, error);
	if (open->len == 1)
		*row = g_ptr_array_steal_index(open, 0);
	else if (rows->len > 0)
		*row = g_ptr_array_steal_index(rows, 0);
	else
		return error_set(error, WATARI_ERROR_REFUSED,
				 _("Name both hosts, the one it came from first: watari resolve "
				   "VM SOURCE DESTINATION."),
				 _("the journal on this machine knows no move of “%s”"), move->vm);
	return set_addresses(move, (*row)->source, (*row)->destination, error);
}

/* ---- what the other rows say of it ---- */

static bool is_driven(struct move *move, const char *vm, GError **error)
{
	g_autoptr(GPtrArray) open = journal_list_unfinished(move->journal, vm, NULL);
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
static bool has_moved_since(struct move *move, const struct journal_move *row)
{
	g_autoptr(GPtrArray) rows = journal_list(move->journal, row->vm_uuid, -1, NULL);
	for (guint i = 0; i < rows->len; i++) {
		const struct journal_move *other = rows->pdata[i];
		bool may_have_moved = !other->outcome || g_str_equal(other->outcome, "attention") ||
				      g_str_equal(other->outcome, move_outcome_name(MOVE_MIGRATED));
		if (other->number > row->number && may_have_moved)
			return true;
	}
	return false;
}

/* What the row knows of its machines is asked of every connection from here on. */
static void expect_machines(struct move *move, const struct journal_move *row)
{
	struct move_host hosts[MOVE_SIDES];
	move_hosts_read(row, hosts);
	for (int side = 0; side < MOVE_SIDES; side++) {
		g_free(move->host_uuids[side]);
		move->host_uuids[side] = g_strdup(hosts[side].uuid);
		move_host_clear(&hosts[side]);
	}
}

/* The way to the hosts and to watari there: as the user says now, else as the move had it. */
static bool choose_shell(struct move *move, const struct resolve_request *request,
			 const struct journal_move *row, GError **error)
{
	g_autoptr(JsonObject) options = json_parse_kept(row ? row->options : NULL);
	const char *rsh = options ? json_get_string(options, "rsh", NULL) : NULL;
	const char *watari = options ? json_get_string(options, "remote_watari", NULL) : NULL;
	rsh = request->rsh ? request->rsh : rsh;
	move->shell.watari =
		request->remote_watari ? request->remote_watari : g_intern_string(watari);
	g_clear_pointer(&move->shell.rsh, g_strfreev);
	if (!rsh || g_shell_parse_argv(rsh, NULL, &move->shell.rsh, error))
		return true;
	error_classify(error, WATARI_ERROR_USAGE, NULL);
	error_prefix(error, "--rsh");
	return false;
}

static bool choose_row(struct move *move, const struct resolve_request *request,
		       struct journal_move **row, GError **error)
{
	g_autoptr(GError) failure = NULL;
	char **hosts = request->hosts;
	guint count = hosts ? g_strv_length(hosts) : 0;
	if (count == 1)
		return error_set(error, WATARI_ERROR_USAGE,
				 _("Name both, the one it came from first."),
				 _("one host is not enough"));
	move->journal = journal_open(NULL, &failure);
	g_autoptr(GPtrArray) rows = journal_list(move->journal, move->vm, -1, &failure);
	if (failure) {
		g_autofree char *what = error_what(failure);
		move_note(move, true, "%s", what);
	}
	/* the hosts that are named must be asked before it is clear which move it was */
	if (is_driven(move, move->vm, error) ||
	    !choose_shell(move, request, rows->len > 0 ? rows->pdata[0] : NULL, error))
		return false;
	return count == 2 ? choose_by_hosts(move, hosts, rows, row, error)
			  : choose_alone(move, rows, row, error);
}

bool which_move_choose(struct move *move, const struct resolve_request *request,
		       struct journal_move **row, GError **error)
{
	*row = NULL;
	if (!choose_row(move, request, row, error))
		return false;
	/* (named by an id, it is the only one that was looked at) */
	if (is_driven(move, *row ? (*row)->vm_uuid : move->report->vm_uuid, error))
		return false;
	if (!*row)
		return true;
	if (!choose_shell(move, request, *row, error))
		return false;
	expect_machines(move, *row);
	move->outdated = has_moved_since(move, *row);
	if (move->outdated)
		move_note(move, true,
			  _("“%s” has been moved again since that move (%s), so what the journal "
			    "says of it then is not taken for true any more."),
			  (*row)->vm_name, (*row)->id);
	return true;
}
