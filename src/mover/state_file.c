/* SPDX-License-Identifier: Apache-2.0 */
/* Writes and removes the mover's file, and ends movers by it. */
#include "mover/state_file.h"

#include "base/error.h"
#include "base/i18n.h"
#include "base/process.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { END_MS = 2000, END_STEP_MS = 20 };

static const char *state_dir(void)
{
	const char *dir = g_getenv("WATARI_RUN_DIR");
	return dir && *dir ? dir : "/run/watari";
}

static const char *role_word(enum mover_role role)
{
	return role == MOVER_SOURCE ? "source" : "destination";
}

static char *state_path(const struct mover_setup *settings)
{
	return g_strdup_printf("%s/%s-%s.json", state_dir(), settings->id,
			       role_word(settings->role));
}

/* Whoever removed the last file in the directory takes that along, perhaps at this very moment. */
static bool write_state_file(const char *path, const char *text, GError **error)
{
	enum { TRIES = 10 };
	for (int i = 0; i < TRIES; i++) {
		g_clear_error(error);
		g_mkdir_with_parents(state_dir(), 0700);
		if (g_file_set_contents_full(path, text, (gssize) strlen(text),
					     G_FILE_SET_CONTENTS_CONSISTENT, 0600, error))
			return true;
		if (!g_error_matches(*error, G_FILE_ERROR, G_FILE_ERROR_NOENT))
			break;
	}
	/* What was true before may be wrong now: that this mover may be ended. */
	unlink(path);
	return false;
}

bool state_file_write(const struct mover_setup *settings, enum transfer_phase phase, GError **error)
{
	g_autofree char *path = state_path(settings);
	g_autoptr(JsonObject) state = json_object_new();
	JsonObject *vm = json_object_new();
	json_object_set_string_member(vm, "name", settings->vm_name);
	json_object_set_string_member(vm, "uuid", settings->vm_uuid);
	json_object_set_string_member(state, "id", settings->id);
	json_object_set_string_member(state, "role", role_word(settings->role));
	json_object_set_object_member(state, "vm", vm);
	json_object_set_int_member(state, "pid", getpid());
	json_object_set_int_member(state, "born", process_start_ticks(getpid()));
	json_object_set_string_member(state, "phase", transfer_phase_name(phase));
	json_object_set_string_member(state, "socket_dir", settings->socket_dir);
	g_autofree char *text = json_print_object(state);
	g_autoptr(GError) failure = NULL;
	return write_state_file(path, text, &failure) ||
	       error_set(error, WATARI_ERROR_INTERNAL, NULL,
			 _("the mover's file of its state cannot be written: %s"),
			 failure->message);
}

void state_file_remove(const struct mover_setup *settings)
{
	g_autofree char *path = state_path(settings);
	unlink(path);
	rmdir(state_dir()); /* the last one takes the directory with it */
}

/* Of a state file. */
struct process {
	int pid;
	int64_t born;
};

/* It is gone, or its number belongs to something else now. */
static bool is_dead(const struct process *process)
{
	return process->born == 0 || !process_lives(process->pid, process->born);
}

static void remove_socket_dir(const char *dir)
{
	/* Only what a mover makes: our own directory below libvirt's. */
	if (!dir || !g_str_has_prefix(dir, "/run/libvirt/watari/") || strstr(dir, ".."))
		return;
	GDir *entries = g_dir_open(dir, 0, NULL);
	const char *name;
	while (entries && (name = g_dir_read_name(entries))) {
		g_autofree char *path = g_build_filename(dir, name, NULL);
		unlink(path);
	}
	if (entries)
		g_dir_close(entries);
	rmdir(dir);
}

static bool wait_dead(const struct process *process)
{
	for (int waited_ms = 0; waited_ms < END_MS && !is_dead(process); waited_ms += END_STEP_MS)
		g_usleep(END_STEP_MS * 1000);
	return is_dead(process);
}

/* Of a mover that outlived its conductor and the end of its move, or hangs. */
static bool end_mover(const struct process *process, enum state_file_manner manner)
{
	static const int signals[] = { SIGTERM, SIGKILL };
	for (size_t i = manner == STATE_KILL; i < G_N_ELEMENTS(signals) && !is_dead(process); i++) {
		kill(process->pid, signals[i]);
		wait_dead(process);
	}
	return is_dead(process);
}

static void sweep_file(const char *path, bool end, enum state_file_manner manner)
{
	g_autofree char *text = NULL;
	size_t length = 0;
	if (!g_file_get_contents(path, &text, &length, NULL))
		return;
	g_autoptr(JsonObject) state = json_parse_object(text, length, NULL);
	if (!state)
		return;
	struct process process = { (int) json_get_int(state, "pid", 0),
				   json_get_int(state, "born", 0) };
	/* One that still carries the pages of a post-copy is never ended. */
	bool carries = g_str_equal(json_get_string(state, "phase", ""), "postcopy");
	if (!(end && !carries ? end_mover(&process, manner) : is_dead(&process)))
		return;
	remove_socket_dir(json_get_string(state, "socket_dir", NULL));
	unlink(path);
	puts(text);
}

int state_file_sweep(const char *id, enum state_file_manner manner)
{
	GDir *entries = g_dir_open(state_dir(), 0, NULL);
	const char *name;
	while (entries && (name = g_dir_read_name(entries))) {
		g_autofree char *path = g_build_filename(state_dir(), name, NULL);
		if (g_str_has_suffix(name, ".json") && (!id || g_str_has_prefix(name, id)))
			sweep_file(path, id != NULL, manner);
	}
	if (entries)
		g_dir_close(entries);
	rmdir(state_dir());
	rmdir("/run/libvirt/watari");
	return WATARI_EXIT_OK;
}

static void print_living(const char *path, const char *vm_uuid)
{
	g_autofree char *text = NULL;
	size_t length = 0;
	if (!g_file_get_contents(path, &text, &length, NULL))
		return;
	g_autoptr(JsonObject) state = json_parse_object(text, length, NULL);
	JsonObject *vm = state ? json_get_object(state, "vm") : NULL;
	if (!vm || !g_str_equal(json_get_string(vm, "uuid", ""), vm_uuid))
		return;
	struct process process = { (int) json_get_int(state, "pid", 0),
				   json_get_int(state, "born", 0) };
	if (!is_dead(&process))
		puts(text);
}

int state_file_print_living(const char *vm_uuid)
{
	GDir *entries = g_dir_open(state_dir(), 0, NULL);
	const char *name;
	while (entries && (name = g_dir_read_name(entries))) {
		g_autofree char *path = g_build_filename(state_dir(), name, NULL);
		if (g_str_has_suffix(name, ".json"))
			print_living(path, vm_uuid);
	}
	if (entries)
		g_dir_close(entries);
	return WATARI_EXIT_OK;
}
