/* SPDX-License-Identifier: Apache-2.0 */
/* The pair of movers: started, greeted, set up, asked, ended. */
#include "conductor/core/movers.h"

#include "conductor/core/mover_events.h"
#include "conductor/core/part.h"

#include "base/i18n.h"
#include "base/json.h"

#include <errno.h>
#include <string.h>
#include "base/version.h"
#include "control/messages.h"

enum { PROTOCOL = 1, HELLO_MS = 30000, SETUP_MS = 10000, SWEEP_MS = 20000 };

/* ---- start ---- */

char **movers_command(struct move *move, enum move_side side, const char *const *words)
{
	g_autoptr(GStrvBuilder) command = g_strv_builder_new();
	g_auto(GStrv) program = remote_watari(&move->shell);
	/* Here it is this very program, installed or not. */
	g_autofree char *self = move->shell.watari || move->addresses[side]->shell
					? NULL
					: g_file_read_link("/proc/self/exe", NULL);
	if (self)
		g_strv_builder_add(command, self);
	else
		g_strv_builder_addv(command, (const char **) (uintptr_t) program);
	for (; *words; words++)
		g_strv_builder_add(command, *words);
	return g_strv_builder_end(command);
}

/* Root still: the images of a VM that is off may be root's, and the mover's sockets are. */
char **movers_helper(struct move *move, enum move_side side)
{
	static const char *const words[] = { "mover", "--helper", "-1", "tied", NULL };
	return movers_command(move, side, words);
}

/* The hosts' own names are not known when a broken move is picked up. */
static const char *host_name(struct move *move, enum move_side side)
{
	return move->hosts[side] ? move->hosts[side]->name : move->addresses[side]->text;
}

static bool spawn_mover(struct move *move, enum move_side side, GError **error)
{
	static const char *const words[] = { "mover", NULL };
	g_auto(GStrv) command = movers_command(move, side, words);
	g_autofree char *name = g_strdup_printf(_("the mover at %s"), host_name(move, side));
	move->movers[side] =
		dialogue_open(&move->shell, move->addresses[side], (const char *const *) command,
			      name, mover_events_heard, move, error);
	return move->movers[side] != NULL;
}

struct expecting {
	struct dialogue *dialogue;
	const char *type;
	JsonObject *got;
};

static bool has_come(void *data)
{
	struct expecting *expecting = data;
	expecting->got = dialogue_take(expecting->dialogue, expecting->type);
	return expecting->got || dialogue_failure(expecting->dialogue);
}

JsonObject *movers_wait(struct move *move, enum move_side side, const char *type, int timeout_ms,
			GError **error)
{
	struct expecting expecting = { move->movers[side], type, NULL };
	if (!move_wait(move, has_come, &expecting, timeout_ms, error)) {
		error_prefix(error, "%s", dialogue_name(expecting.dialogue));
		return NULL;
	}
	if (!expecting.got && error)
		*error = g_error_copy(dialogue_failure(expecting.dialogue));
	return expecting.got;
}

static char *suggest_doctor(const struct host_address *address)
{
	return address->shell ? g_strdup_printf(_("“watari doctor %s” says more."), address->shell)
			      : g_strdup(_("“watari doctor” says more."));
}

/* A shell that does not find the program says so; whatever else kept it from a word is another matter. */
static void advise_start(struct move *move, enum move_side side, const char *install,
			 GError **error)
{
	g_autofree char *doctor = suggest_doctor(move->addresses[side]);
	g_autofree char *what = *error ? error_what(*error) : NULL;
	bool missing = what && (strstr(what, "not found") || strstr(what, g_strerror(ENOENT)));
	error_classify(error, WATARI_ERROR_REFUSED, missing ? install : doctor);
}

static bool greet(struct move *move, enum move_side side, GError **error)
{
	const char *host = host_name(move, side);
	g_autofree char *next = g_strdup_printf(
		_("Install watari %s at %s, or say where it is with --remote-watari."),
		watari_version, host);
	JsonObject *hello = movers_wait(move, side, MESSAGE_HELLO, HELLO_MS, error);
	if (!hello) {
		advise_start(move, side, next, error);
		return false;
	}
	const char *version = json_get_string(hello, "version", "?");
	json_object_set_string_member(hello, MESSAGE_TYPE, MESSAGE_HELLO);
	g_clear_pointer(&move->hellos[side], json_object_unref);
	move->hellos[side] = hello;
	int64_t proto = json_get_int(hello, "proto", 0);
	if (proto == PROTOCOL && g_str_equal(version, watari_version))
		return true;
	if (g_str_equal(version, watari_version))
		return error_set(error, WATARI_ERROR_REFUSED, next,
				 _("the watari at %s speaks version %d of the movers' protocol, "
				   "this one %d"),
				 host, (int) proto, PROTOCOL);
	return error_set(error, WATARI_ERROR_REFUSED, next,
			 _("the watari at %s is version %s, this one is %s"), host, version,
			 watari_version);
}

JsonObject *movers_hello(struct move *move, enum move_side side)
{
	return move->hellos[side];
}

static bool has_feature(JsonObject *hello, const char *feature)
{
	JsonArray *features = hello ? json_get_array(hello, "features") : NULL;
	for (guint i = 0; features && i < json_array_get_length(features); i++) {
		JsonNode *node = json_array_get_element(features, i);
		if (JSON_NODE_HOLDS_VALUE(node) &&
		    g_strcmp0(json_node_get_string(node), feature) == 0)
			return true;
	}
	return false;
}

bool movers_can(struct move *move, const char *feature)
{
	return has_feature(move->hellos[MOVE_SOURCE], feature) &&
	       has_feature(move->hellos[MOVE_DESTINATION], feature);
}

bool movers_start(struct move *move, GError **error)
{
	for (int side = 0; side < MOVE_SIDES; side++)
		if (!spawn_mover(move, side, error))
			return false;
	return greet(move, MOVE_SOURCE, error) && greet(move, MOVE_DESTINATION, error);
}

bool movers_restart(struct move *move, enum move_side side, GError **error)
{
	movers_tell(move, side, dialogue_message(MESSAGE_BYE));
	g_clear_pointer(&move->movers[side], dialogue_free);
	return spawn_mover(move, side, error) && greet(move, side, error);
}

/* ---- set up ---- */

static JsonObject *describe_vm(struct move *move)
{
	JsonObject *vm = json_object_new();
	json_object_set_string_member(vm, "name", move->report->vm_name);
	json_object_set_string_member(vm, "uuid", move->report->vm_uuid);
	return vm;
}

static JsonArray *split_words(const char *text)
{
	JsonArray *array = json_array_new();
	g_auto(GStrv) words = g_strsplit(text, ",", -1);
	for (char **word = words; *word; word++)
		json_array_add_string_element(array, *word);
	return array;
}

int64_t movers_stop_limit_ms(const struct move_limits *limits)
{
	return limits->ceiling_ms ? MAX(limits->ceiling_ms - limits->hand_over_ms, 1) : 0;
}

static char *compress_word(int compress)
{
	if (compress >= MOVE_COMPRESS_1)
		return g_strdup_printf("%d", compress - MOVE_COMPRESS_1 + 1);
	return g_strdup(compress == MOVE_COMPRESS_OFF ? "off" : "auto");
}

static JsonObject *describe_whole_setup(struct move *move, enum move_side side)
{
	static const char *const roles[] = { "source", "destination" };
	static const char *const modes[] = { "none", "sample", "full" };
	const struct move_request *request = move->request;
	JsonObject *setup = dialogue_message(MESSAGE_SETUP);
	g_autofree char *directory = g_strdup_printf("/run/libvirt/watari/%.8s", move->report->id);
	json_object_set_string_member(setup, "role", roles[side]);
	json_object_set_string_member(setup, "id", move->report->id);
	json_object_set_string_member(setup, "key", move->key);
	json_object_set_int_member(setup, "connections", request->connections);
	json_object_set_object_member(setup, "vm", describe_vm(move));
	json_object_set_string_member(setup, "socket_dir", directory);
	/* of a VM that is off only root's tools have to do with the sockets */
	if (move->hosts[side]->qemu_uid >= 0 && !move->offline)
		json_object_set_int_member(setup, "socket_user", move->hosts[side]->qemu_uid);
	json_object_set_int_member(setup, "bandwidth", (gint64) move->limits.bandwidth);
	json_object_set_int_member(setup, "link_timeout_ms", move->limits.link_timeout_ms);
	json_object_set_int_member(setup, "stop_limit_ms",
				   move_stop_ceiling_ms(move) ? movers_stop_limit_ms(&move->limits)
							      : 0);
	json_object_set_string_member(
		setup, "verify",
		modes[request->kind == MOVE_OFFLINE ? MOVE_VERIFY_NONE : request->verify]);
	json_object_set_int_member(setup, "memory_limit", (gint64) request->memory_limit);
	parts_describe_setup(move, setup);
	if (request->cores > 0)
		json_object_set_int_member(setup, "cores", request->cores);
	g_autofree char *compress = compress_word(request->compress);
	json_object_set_string_member(setup, "compress", compress);
	if (postcopy_holds(move))
		json_object_set_boolean_member(setup, "recover", TRUE);
	if (request->kind == MOVE_LIVE && request->strategy == MOVE_STRATEGY_POSTCOPY &&
	    move->limits.postcopy)
		json_object_set_boolean_member(setup, "postcopy_first", TRUE);
	if (request->faults)
		json_object_set_array_member(setup, "faults", split_words(request->faults));
	return setup;
}

JsonObject *movers_ask(struct move *move, enum move_side side, JsonObject *message,
		       const char *type, int timeout_ms, GError **error)
{
	if (!dialogue_send(move->movers[side], message, error))
		return NULL;
	return movers_wait(move, side, type, timeout_ms, error);
}

/* A mover that may not make its sockets is told from one that cannot for other reasons. */
static void advise_rights(struct move *move, enum move_side side, GError **error)
{
	const struct host_address *address = move->addresses[side];
	const char *at = address->shell ? strrchr(address->shell, '@') : NULL;
	const char *host = at ? at + 1 : address->shell;
	g_autofree char *what = *error ? error_what(*error) : NULL;
	bool rights = what && (strstr(what, g_strerror(EACCES)) || strstr(what, g_strerror(EPERM)));
	g_autofree char *there =
		host ? g_strdup_printf(_("The movers need root's rights: name the host as root@%s, "
					 "or let sudo ask no password there. “watari doctor %s” "
					 "says more."),
				       host, address->shell)
		     : g_strdup(_("The movers need root's rights: run watari as root, or let sudo "
				  "ask no password."));
	g_autofree char *other = suggest_doctor(address);
	error_classify(error, WATARI_ERROR_REFUSED, rights ? there : other);
}

/* Both make theirs at once: the way to them may be long. */
bool movers_set_up(struct move *move, GError **error)
{
	for (int side = 0; side < MOVE_SIDES; side++)
		if (!dialogue_send(move->movers[side], describe_whole_setup(move, side), error))
			return false;
	for (int side = 0; side < MOVE_SIDES; side++) {
		g_autoptr(JsonObject) ready =
			movers_wait(move, side, MESSAGE_READY, SETUP_MS, error);
		if (!ready) {
			advise_rights(move, side, error);
			return false;
		}
		const char *socket = json_get_string(ready, "socket", "");
		if (side == MOVE_SOURCE) {
			g_free(move->socket);
			move->socket = g_strdup(socket);
		} else if (!g_str_equal(move->socket, socket)) {
			return error_set(error, WATARI_ERROR_REFUSED, NULL,
					 _("the movers chose different sockets: %s and %s"),
					 move->socket, socket);
		}
	}
	return true;
}

/* ---- end ---- */

void movers_tell(struct move *move, enum move_side side, JsonObject *message)
{
	if (move->movers[side])
		dialogue_send(move->movers[side], message, NULL);
	else
		json_object_unref(message);
}

const GError *movers_failure(struct move *move)
{
	for (int side = 0; side < MOVE_SIDES; side++)
		if (move->movers[side] && dialogue_failure(move->movers[side]))
			return dialogue_failure(move->movers[side]);
	return NULL;
}

bool movers_alive(struct move *move, enum move_side side)
{
	return move->movers[side] && !dialogue_failure(move->movers[side]);
}

void movers_let_go(struct move *move)
{
	for (int side = 0; side < MOVE_SIDES && !move->released; side++) {
		JsonObject *message = dialogue_message(MESSAGE_ABORT);
		json_object_set_string_member(message, "reason", "the move is over");
		movers_tell(move, side, message);
	}
}

void movers_end(struct move *move)
{
	move->mover_lost |= movers_failure(move) != NULL;
	for (int side = 0; side < MOVE_SIDES; side++)
		movers_tell(move, side, dialogue_message(MESSAGE_BYE));
	/* one that does not end by itself hangs, and it is only our connection to it that was ended */
	for (int side = 0; side < MOVE_SIDES; side++)
		if (move->movers[side] && !dialogue_end(g_steal_pointer(&move->movers[side])))
			move->mover_lost = true;
}

void movers_kill(struct move *move, enum move_side side)
{
	const char *const words[] = { "mover", "--kill", move->report->id, NULL };
	g_auto(GStrv) command = movers_command(move, side, words);
	remote_run(&move->shell, move->addresses[side], (const char *const *) command, SWEEP_MS,
		   NULL, NULL, NULL);
}

static void call_sweep(void *data)
{
	struct move *move = data;
	const char *const words[] = { "mover", "--sweep", move->report->id, NULL };
	for (int side = 0; side < MOVE_SIDES; side++) {
		g_auto(GStrv) command = movers_command(move, side, words);
		remote_run(&move->shell, move->addresses[side], (const char *const *) command,
			   SWEEP_MS, NULL, NULL, NULL);
	}
}

void movers_sweep(struct move *move)
{
	move_call(move, call_sweep, move);
}
