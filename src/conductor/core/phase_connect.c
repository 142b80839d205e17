/* SPDX-License-Identifier: Apache-2.0 */
/* The request is read, both hosts are found and their libvirts opened, through the guard's relays. */
#include "host/belongings/mapping.h"
#include "conductor/core/move.h"

#include "base/i18n.h"
#include "host/machine.h"

#include <string.h>

static bool read_shell(struct journey *journey, GError **error)
{
	journey->shell.watari = journey->request->remote_watari;
	if (!journey->request->rsh)
		return true;
	if (g_shell_parse_argv(journey->request->rsh, NULL, &journey->shell.rsh, error))
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

static bool read_addresses(struct journey *journey, GError **error)
{
	const struct journey_request *request = journey->request;
	struct host_address **addresses = journey->addresses;
	journey->vm = request->vm;
	addresses[JOURNEY_SOURCE] =
		request->connect ? host_address_parse(request->connect, error)
				 : host_address_split_vm(request->vm, &journey->vm, error);
	if (!addresses[JOURNEY_SOURCE])
		return false;
	addresses[JOURNEY_DESTINATION] = host_address_parse(request->destination, error);
	if (!addresses[JOURNEY_DESTINATION])
		return false;
	for (int side = 0; side < JOURNEY_SIDES; side++) {
		addresses[side]->shared = addresses[side]->shell ? remote_share_path() : NULL;
		journey->report->sides[side].address = g_strdup(addresses[side]->text);
	}
	return true;
}

struct opening {
	struct journey *journey;
	enum journey_side side;
	GError *error;
};

static gpointer open_host(gpointer data)
{
	static const enum guard_side sides[] = {
		[JOURNEY_SOURCE] = GUARD_SOURCE, [JOURNEY_DESTINATION] = GUARD_DESTINATION
	};
	struct opening *opening = data;
	struct journey *journey = opening->journey;
	struct host_address *address = journey->addresses[opening->side];
	journey->hosts[opening->side] = host_open_guarded(
		journey->guard, sides[opening->side], &journey->shell, address, &opening->error);
	if (journey->hosts[opening->side])
		machine_read(&journey->shell, journey->hosts[opening->side]);
	return NULL;
}

/* Each takes some round trips, so both at once; but a remote shell of the user's own may ask for something. */
static void open_hosts(void *data)
{
	struct opening *openings = data;
	bool at_once = !openings->journey->shell.rsh;
	GThread *other = NULL;
	host_prepare_library();
	if (at_once)
		other = g_thread_new("open", open_host, &openings[JOURNEY_DESTINATION]);
	open_host(&openings[JOURNEY_SOURCE]);
	if (other)
		g_thread_join(other);
	else if (!openings[JOURNEY_SOURCE].error)
		open_host(&openings[JOURNEY_DESTINATION]);
}

static bool take_host(struct opening *opening, GError **error)
{
	struct journey *journey = opening->journey;
	enum journey_side side = opening->side;
	if (opening->error) {
		const char *host = journey->addresses[side]->shell;
		g_autofree char *next =
			g_strdup_printf(_("“watari doctor%s%s” says what is missing."),
					host ? " " : "", host ? host : "");
		error_classify(&opening->error, WATARI_ERROR_REFUSED, next);
		g_propagate_error(error, g_steal_pointer(&opening->error));
		return false;
	}
	journey->report->sides[side].host = g_strdup(journey->hosts[side]->name);
	if (!journey->host_uuids[side])
		journey->host_uuids[side] = g_strdup(journey->hosts[side]->uuid);
	return true;
}

static bool connect_hosts(struct journey *journey, GError **error)
{
	struct opening openings[] = { { journey, JOURNEY_SOURCE, NULL },
				      { journey, JOURNEY_DESTINATION, NULL } };
	journey_call(journey, open_hosts, openings);
	bool good = journey_check_cancel(journey, error);
	for (int side = 0; side < JOURNEY_SIDES && good; side++)
		good = take_host(&openings[side], error);
	for (int side = 0; side < JOURNEY_SIDES; side++)
		g_clear_error(&openings[side].error);
	return good;
}

static bool check_through(const struct journey_request *request, GError **error)
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
		{ "--disks copy", request->disks == JOURNEY_DISKS_COPY },
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

static bool check_wishes(const struct journey_request *request, GError **error)
{
	if (request->strategy == JOURNEY_STRATEGY_POSTCOPY && !request->allow_postcopy)
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
	if (request->kind != JOURNEY_OFFLINE || !request->verify)
		return true;
	return error_set(error, WATARI_ERROR_USAGE, _("Leave one of them out."),
			 _("--offline and --verify-memory contradict each other: what is off has "
			   "no memory"));
}

/* What needs no host to be known as nonsense. */
bool phase_request(struct journey *journey, GError **error)
{
	return check_wishes(journey->request, error) &&
	       check_link_address(journey->request->link_address, error) &&
	       read_shell(journey, error) && read_addresses(journey, error);
}

bool phase_connect(struct journey *journey, GError **error)
{
	journey->guard = guard_new(error);
	return journey->guard && connect_hosts(journey, error);
}

static void close_all(void *data)
{
	struct journey *journey = data;
	g_clear_pointer(&journey->domain, virDomainFree);
	for (int side = 0; side < JOURNEY_SIDES; side++)
		g_clear_pointer(&journey->hosts[side], host_free);
	g_clear_pointer(&journey->guard, guard_free);
}

static void find_again(void *data)
{
	struct opening *opening = data;
	struct journey *journey = opening->journey;
	journey->domain = virDomainLookupByUUIDString(journey->hosts[JOURNEY_SOURCE]->connection,
						      journey->report->vm_uuid);
	if (!journey->domain)
		host_error(&opening->error, WATARI_ERROR_INTERNAL, NULL, journey->report->vm_name);
}

bool journey_reconnect(struct journey *journey, GError **error)
{
	struct opening opening = { journey, JOURNEY_SOURCE, NULL };
	journey_call(journey, close_all, journey);
	journey->guard = guard_new(error);
	for (int side = 0; side < JOURNEY_SIDES; side++)
		g_clear_pointer(&journey->report->sides[side].host, g_free);
	if (!journey->guard || !connect_hosts(journey, error))
		return false;
	journey_call(journey, find_again, &opening);
	if (opening.error)
		g_propagate_error(error, opening.error);
	return journey->domain != NULL;
}
