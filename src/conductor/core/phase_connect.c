/* SPDX-License-Identifier: Apache-2.0 */
/* The request is read, both hosts are found and their libvirts opened, through the guard's relays. */
#include "host/mapping.h"
#include "conductor/core/move.h"

#include "base/i18n.h"
#include "host/machine.h"

#include <string.h>

static bool read_shell(struct move *move, GError **error)
{
	move->shell.watari = move->request->remote_watari;
	if (!move->request->rsh)
		return true;
	if (g_shell_parse_argv(move->request->rsh, NULL, &move->shell.rsh, error))
		return true;
	error_classify(error, WATARI_ERROR_USAGE, NULL);
	error_prefix(error, "--rsh");
	return false;
}

/* A name or an IP address, with or without brackets or zone. It is never given to a shell, but a
 * word that can only be a mistake must not be passed over because another way works as well. */
static bool check_link_address(const char *address, GError **error)
{
	if (!address)
		return true;
	bool good = *address != '-' && *address != '.';
	for (const char *at = address; *at && good; at++)
		good = g_ascii_isalnum(*at) || strchr(".:-_%[]", *at);
	return good || error_set(error, WATARI_ERROR_USAGE, _("Give a host name or an IP address."),
				 _("--link-address: “%s” is no address"), address);
}

static bool read_addresses(struct move *move, GError **error)
{
	const struct move_request *request = move->request;
	struct host_address **addresses = move->addresses;
	move->vm = request->vm;
	addresses[MOVE_SOURCE] = request->connect
					 ? host_address_parse(request->connect, error)
					 : host_address_split_vm(request->vm, &move->vm, error);
	if (!addresses[MOVE_SOURCE])
		return false;
	addresses[MOVE_DESTINATION] = host_address_parse(request->destination, error);
	if (!addresses[MOVE_DESTINATION])
		return false;
	for (int side = 0; side < MOVE_SIDES; side++) {
		addresses[side]->shared = addresses[side]->shell ? remote_share_path() : NULL;
		move->report->sides[side].address = g_strdup(addresses[side]->text);
	}
	return true;
}

struct opening {
	struct move *move;
	enum move_side side;
	GError *error;
};

static gpointer open_host(gpointer data)
{
	static const enum guard_side sides[] = {
		[MOVE_SOURCE] = GUARD_SOURCE, [MOVE_DESTINATION] = GUARD_DESTINATION
	};
	struct opening *opening = data;
	struct move *move = opening->move;
	struct host_address *address = move->addresses[opening->side];
	move->hosts[opening->side] = host_open_guarded(move->guard, sides[opening->side],
						       &move->shell, address, &opening->error);
	if (move->hosts[opening->side])
		machine_read(&move->shell, move->hosts[opening->side]);
	return NULL;
}

/* Each takes some round trips, so both at once; but a remote shell of the user's own may ask for something. */
static void open_hosts(void *data)
{
	struct opening *openings = data;
	bool at_once = !openings->move->shell.rsh;
	GThread *other = NULL;
	host_prepare_library();
	if (at_once)
		other = g_thread_new("open", open_host, &openings[MOVE_DESTINATION]);
	open_host(&openings[MOVE_SOURCE]);
	if (other)
		g_thread_join(other);
	else if (!openings[MOVE_SOURCE].error)
		open_host(&openings[MOVE_DESTINATION]);
}

static bool take_host(struct opening *opening, GError **error)
{
	struct move *move = opening->move;
	enum move_side side = opening->side;
	if (opening->error) {
		const char *host = move->addresses[side]->shell;
		g_autofree char *next =
			g_strdup_printf(_("“watari doctor%s%s” says what is missing."),
					host ? " " : "", host ? host : "");
		error_classify(&opening->error, WATARI_ERROR_REFUSED, next);
		g_propagate_error(error, g_steal_pointer(&opening->error));
		return false;
	}
	move->report->sides[side].host = g_strdup(move->hosts[side]->name);
	if (!move->host_uuids[side])
		move->host_uuids[side] = g_strdup(move->hosts[side]->uuid);
	return true;
}

static bool connect_hosts(struct move *move, GError **error)
{
	struct opening openings[] = { { move, MOVE_SOURCE, NULL },
				      { move, MOVE_DESTINATION, NULL } };
	move_call(move, open_hosts, openings);
	bool good = move_check_cancel(move, error);
	for (int side = 0; side < MOVE_SIDES && good; side++)
		good = take_host(&openings[side], error);
	for (int side = 0; side < MOVE_SIDES; side++)
		g_clear_error(&openings[side].error);
	return good;
}

static bool check_through(const struct move_request *request, GError **error)
{
	const struct {
		const char *option;
		bool given;
	} others[] = {
		{ "--prewarm", request->prewarm },
		{ "--verify-memory", request->verify },
		{ "--verify-disks", request->verify_disks },
		{ "--bandwidth", request->bandwidth > 0 },
		{ "--disk-bandwidth", request->disk_bandwidth > 0 },
		{ "--disk", request->disk_places[0] },
		{ "--disks copy", request->disks == MOVE_DISKS_COPY },
		{ "--seed", request->seeds[0] },
		{ "--link", request->link },
	};
	for (size_t i = 0; request->through && i < G_N_ELEMENTS(others); i++)
		if (others[i].given)
			return error_set(error, WATARI_ERROR_USAGE, _("Leave one of them out."),
					 _("--through and %s contradict each other: through a "
					   "directory nothing goes over a link"),
					 others[i].option);
	return !request->through || *request->through == '/' ||
	       error_set(error, WATARI_ERROR_USAGE, _("Give the path from the root on."),
			 _("--through: “%s” is no absolute path"), request->through);
}

static bool check_wishes(const struct move_request *request, GError **error)
{
	if (request->strategy == MOVE_STRATEGY_POSTCOPY && !request->allow_postcopy)
		return error_set(error, WATARI_ERROR_USAGE, _("Add --allow-postcopy."),
				 _("--strategy postcopy needs your permission: for a while no "
				   "single host has the whole VM"));
	const struct mapping mapping = { request->networks, request->listens };
	if (!check_through(request, error) || !check_accept_names(request->accept, error) ||
	    !mapping_check(&mapping, error))
		return false;
	if (request->through && !mapping_is_empty(&mapping))
		return error_set(
			error, WATARI_ERROR_USAGE, _("Move it over the link."),
			_("--through carries the description as it was saved, so --network "
			  "and --listen cannot be given with it"));
	if (request->kind != MOVE_OFFLINE || !request->verify)
		return true;
	return error_set(error, WATARI_ERROR_USAGE, _("Leave one of them out."),
			 _("--offline and --verify-memory contradict each other: what is off has "
			   "no memory"));
}

/* What needs no host to be known as nonsense. */
bool phase_request(struct move *move, GError **error)
{
	return check_wishes(move->request, error) &&
	       check_link_address(move->request->link_address, error) && read_shell(move, error) &&
	       read_addresses(move, error);
}

bool phase_connect(struct move *move, GError **error)
{
	move->guard = guard_new(error);
	return move->guard && connect_hosts(move, error);
}

static void close_all(void *data)
{
	struct move *move = data;
	g_clear_pointer(&move->domain, virDomainFree);
	for (int side = 0; side < MOVE_SIDES; side++)
		g_clear_pointer(&move->hosts[side], host_free);
	g_clear_pointer(&move->guard, guard_free);
}

static void find_again(void *data)
{
	struct opening *opening = data;
	struct move *move = opening->move;
	move->domain = virDomainLookupByUUIDString(move->hosts[MOVE_SOURCE]->connection,
						   move->report->vm_uuid);
	if (!move->domain)
		host_error(&opening->error, WATARI_ERROR_INTERNAL, NULL, move->report->vm_name);
}

bool move_reconnect(struct move *move, GError **error)
{
	struct opening opening = { move, MOVE_SOURCE, NULL };
	move_call(move, close_all, move);
	move->guard = guard_new(error);
	for (int side = 0; side < MOVE_SIDES; side++)
		g_clear_pointer(&move->report->sides[side].host, g_free);
	if (!move->guard || !connect_hosts(move, error))
		return false;
	move_call(move, find_again, &opening);
	if (opening.error)
		g_propagate_error(error, opening.error);
	return move->domain != NULL;
}
