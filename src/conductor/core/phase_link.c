/* SPDX-License-Identifier: Apache-2.0 */
/* The movers are started and linked. There are three ways, tried in the order of a table: the
 * source connects to the destination, the other way round, and through ssh. A mover that was told
 * to connect cannot be told otherwise, so each try has a fresh pair. */
#include "conductor/core/advice.h"
#include "conductor/core/movers.h"
#include "conductor/core/ssh_link.h"

#include "base/i18n.h"
#include "base/json.h"
#include "control/messages.h"

#include <string.h>

enum {
	LISTEN_MS = 10000,
	TCP_MS = 5000, /* until they reach each other: a firewall lets nobody wait for long */
	SSH_MS = 30000,
	TRIAL_MS =
		60000, /* and then until enough has passed, which on a slow path takes its time */
};

struct way {
	enum move_link_kind kind;
	enum move_side listener; /* tcp */
	const char *doing;
};

static const struct way ways[] = {
	{ MOVE_LINK_TCP, MOVE_DESTINATION, N_("linking: the source connects") },
	{ MOVE_LINK_TCP, MOVE_SOURCE, N_("linking: the destination connects") },
	{ MOVE_LINK_SSH, MOVE_SOURCE, N_("linking through ssh") },
};

static bool way_allowed(const struct move_request *request, const struct way *way)
{
	if (request->link != MOVE_LINK_AUTO && request->link != (int) way->kind)
		return false;
	if (way->kind == MOVE_LINK_SSH || request->connect_from == MOVE_FROM_EITHER)
		return true;
	return (request->connect_from == MOVE_FROM_SOURCE) == (way->listener == MOVE_DESTINATION);
}

/* ---- addresses ---- */

static void add_address(JsonArray *addresses, const char *address)
{
	if (!address || !*address || g_str_equal(address, "::1") ||
	    g_str_has_prefix(address, "127.") || g_str_equal(address, "localhost"))
		return;
	for (guint i = 0; i < json_array_get_length(addresses); i++)
		if (g_str_equal(json_array_get_string_element(addresses, i), address))
			return;
	json_array_add_string_element(addresses, address);
}

/* Field INDEX of what sshd told the mover at SIDE: client address, its port, own address, port. */
static char *ssh_field(struct move *move, enum move_side side, int index)
{
	const char *text = json_get_string(movers_hello(move, side), "ssh_connection", "");
	g_auto(GStrv) fields = g_strsplit(text, " ", -1);
	return g_strdup(g_strv_length(fields) == 4 ? fields[index] : "");
}

static const char *host_part(const struct host_address *address)
{
	const char *at = address->shell ? strrchr(address->shell, '@') : NULL;
	return at ? at + 1 : address->shell;
}

/* Where the listening side can be reached, best guess first: as the user said; the address that ssh
 * reached it at; if it is this machine, the address that the other side saw us coming from. */
static JsonArray *find_addresses(struct move *move, enum move_side listener)
{
	enum move_side other = 1 - listener;
	JsonArray *addresses = json_array_new();
	if (move->request->link_address) {
		json_array_add_string_element(addresses, move->request->link_address);
		return addresses;
	}
	g_autofree char *own = ssh_field(move, listener, 2);
	g_autofree char *seen = ssh_field(move, other, 0);
	add_address(addresses, own);
	if (!move->addresses[listener]->shell)
		add_address(addresses, seen);
	add_address(addresses, host_part(move->addresses[listener]));
	add_address(addresses, move->hosts[listener]->name);
	return addresses;
}

/* ---- tcp ---- */

static JsonObject *describe_listen(struct move *move)
{
	JsonObject *listen = dialogue_message(MESSAGE_LISTEN);
	if (move->request->ports[0]) {
		JsonArray *ports = json_array_new();
		json_array_add_int_element(ports, move->request->ports[0]);
		json_array_add_int_element(ports, move->request->ports[1]);
		json_object_set_array_member(listen, "ports", ports);
	}
	/* nobody else's address needs to be listened on */
	if (move->request->link_address)
		json_object_set_string_member(listen, "address", move->request->link_address);
	return listen;
}

static bool start_tcp(struct move *move, enum move_side listener, GError **error)
{
	g_autoptr(JsonObject) listening = movers_ask(move, listener, describe_listen(move),
						     MESSAGE_LISTENING, LISTEN_MS, error);
	if (!listening)
		return false;
	JsonObject *connect = dialogue_message(MESSAGE_CONNECT);
	json_object_set_array_member(connect, "addresses", find_addresses(move, listener));
	json_object_set_int_member(connect, "port", json_get_int(listening, "port", 0));
	return dialogue_send(move->movers[1 - listener], connect, error);
}

/* ---- ssh ---- */

static bool start_ssh_end(struct move *move, enum move_side side, struct ssh_link_end *end,
			  GError **error)
{
	JsonObject *listen = dialogue_message(MESSAGE_LISTEN);
	json_object_set_boolean_member(listen, "unix", TRUE);
	g_autoptr(JsonObject) listening =
		movers_ask(move, side, listen, MESSAGE_LISTENING, LISTEN_MS, error);
	if (!listening)
		return false;
	const char *const words[] = { "mover", "--attach", json_get_string(listening, "path", ""),
				      NULL };
	end->host = move->addresses[side];
	end->command = movers_command(move, side, words);
	return true;
}

static bool start_ssh(struct move *move, GError **error)
{
	struct ssh_link_end ends[2] = { 0 };
	for (int side = 0; side < MOVE_SIDES; side++) {
		if (!start_ssh_end(move, side, &ends[side], error)) {
			g_strfreev(ends[0].command);
			return false;
		}
	}
	move->ssh_link = ssh_link_new(&move->shell, ends, (unsigned) move->request->connections);
	return true;
}

/* ---- both ---- */

struct linking {
	struct move *move;
	bool linked[MOVE_SIDES];
	bool reached; /* by either */
};

static bool is_linking_over(void *data)
{
	struct linking *linking = data;
	for (int side = 0; side < MOVE_SIDES; side++) {
		g_autoptr(JsonObject) message =
			dialogue_take(linking->move->movers[side], MESSAGE_LINKED);
		g_autoptr(JsonObject) reached =
			dialogue_take(linking->move->movers[side], MESSAGE_REACHED);
		linking->linked[side] |= message != NULL;
		linking->reached |= reached != NULL;
	}
	return (linking->linked[0] && linking->linked[1]) || movers_failure(linking->move);
}

static bool wait_linked(struct move *move, int timeout_ms, bool *reached, GError **error)
{
	struct linking linking = { .move = move };
	bool over = move_wait(move, is_linking_over, &linking, timeout_ms, error);
	if (!over && linking.reached && !move->cancelled) {
		g_clear_error(error);
		over = move_wait(move, is_linking_over, &linking, TRIAL_MS, error);
	}
	*reached = linking.reached;
	if (!over)
		return false;
	if (linking.linked[0] && linking.linked[1])
		return true;
	if (error)
		*error = g_error_copy(movers_failure(move));
	return false;
}

/* *reached: the movers were, by each other. */
static bool try_way(struct move *move, const struct way *way, bool *reached, GError **error)
{
	*reached = false;
	move_say(move, _(way->doing));
	if (!movers_set_up(move, error))
		return false;
	bool ssh = way->kind == MOVE_LINK_SSH;
	bool started = ssh ? start_ssh(move, error) : start_tcp(move, way->listener, error);
	if (!started || !wait_linked(move, ssh ? SSH_MS : TCP_MS, reached, error))
		return false;
	g_free(move->report->link);
	move->report->link = g_strdup(ssh ? "ssh" : "tcp");
	move->report->connections = move->request->connections;
	move->linked = true;
	return true;
}

/* A mover that is gone is no closed port. *lost: what may help then, else NULL. */
static void clean_up(struct move *move, char **lost)
{
	g_free(*lost);
	*lost = advice_on_lost_mover(move);
	movers_end(move);
	g_clear_pointer(&move->ssh_link, ssh_link_free);
	g_clear_pointer(&move->mover_reason, g_free);
}

/* Only a failed link is worth another way. */
static bool may_go_on(const GError *error)
{
	return error->domain == WATARI_ERROR && error->code == WATARI_ERROR_INTERNAL;
}

bool phase_link(struct move *move, GError **error)
{
	g_autoptr(GError) last = NULL;
	g_autofree char *lost = NULL;
	for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
		if (!way_allowed(move->request, &ways[i]))
			continue;
		g_clear_error(&last);
		if (!move->movers[MOVE_SOURCE] && !movers_start(move, error))
			return false;
		bool reached;
		if (try_way(move, &ways[i], &reached, &last))
			return true;
		clean_up(move, &lost);
		if (!may_go_on(last)) {
			g_propagate_error(error, g_steal_pointer(&last));
			return false;
		}
		g_autofree char *what = error_what(last);
		/* no way in is ordinary, a way in that carries nothing is to be mended */
		move_note(move, reached, "%s: %s", _(ways[i].doing), what);
	}
	error_classify(
		&last, WATARI_ERROR_REFUSED,
		lost ? lost
		     : _("Open a port between the hosts and name it with --ports, name an address "
			 "with --link-address, or use --link ssh."));
	error_prefix(&last, "%s", _("the hosts' movers cannot be linked"));
	g_propagate_error(error, g_steal_pointer(&last));
	return false;
}
