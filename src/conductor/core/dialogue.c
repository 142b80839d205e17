/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of JSON to and from one mover, in the GLib loop. */
#include "conductor/core/dialogue.h"

#include "base/fd.h"
#include "base/i18n.h"
#include "base/json.h"
#include "control/messages.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/wait.h>

/* A mover that is killed leaves its files behind, and on a busy host it takes its time to end. */
enum { END_GRACE_MS = 10000, SSH_FAILED = 255 };

struct dialogue {
	struct remote_child child;
	char *name;
	dialogue_heard heard;
	void *data;
	guint source;
	GByteArray *input;
	GHashTable *newest; /* type -> JsonObject */
	GError *failure;
};

static void fail_dialogue(struct dialogue *dialogue, GError *failure)
{
	if (dialogue->failure) {
		g_error_free(failure);
		return;
	}
	error_prefix(&failure, "%s", dialogue->name);
	dialogue->failure = failure;
}

static void handle_line(struct dialogue *dialogue, const char *line, size_t length)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(JsonObject) message = json_parse_object(line, length, &error);
	const char *type = message ? json_get_string(message, MESSAGE_TYPE, NULL) : NULL;
	if (!message) {
		fail_dialogue(dialogue, g_steal_pointer(&error));
		return;
	}
	if (!type) {
		error_set(&error, WATARI_ERROR_INTERNAL, NULL, _("a message without a type"));
		fail_dialogue(dialogue, g_steal_pointer(&error));
		return;
	}
	if (g_str_equal(type, MESSAGE_ERROR)) {
		error_set(&error, WATARI_ERROR_INTERNAL, NULL, "%s",
			  json_get_string(message, "reason", _("it failed without a reason")));
		fail_dialogue(dialogue, g_steal_pointer(&error));
	}
	g_hash_table_replace(dialogue->newest, g_strdup(type), json_object_ref(message));
	dialogue->heard(dialogue, type, message, dialogue->data);
}

static void handle_input(struct dialogue *dialogue)
{
	GByteArray *input = dialogue->input;
	guint8 *end;
	while (input->len && !dialogue->failure && (end = memchr(input->data, '\n', input->len))) {
		size_t length = (size_t) (end - input->data);
		handle_line(dialogue, (const char *) input->data, length);
		g_byte_array_remove_range(input, 0, (guint) length + 1);
	}
	if (input->len > JSON_LINE_MAX && !dialogue->failure) {
		GError *error = NULL;
		error_set(&error, WATARI_ERROR_INTERNAL, NULL, _("a line that does not end"));
		fail_dialogue(dialogue, error);
	}
}

/* The end of its output; what it wrote on stderr is the best reason there is. */
static void handle_end(struct dialogue *dialogue)
{
	g_autofree char *complaint = remote_complaint(&dialogue->child);
	GError *error = NULL;
	if (complaint && *complaint)
		error_set(&error, WATARI_ERROR_INTERNAL, NULL, _("it ended: %s"), complaint);
	else
		error_set(&error, WATARI_ERROR_INTERNAL, NULL, _("it ended unexpectedly"));
	fail_dialogue(dialogue, error);
}

static gboolean on_readable(gint fd, GIOCondition condition, gpointer data)
{
	struct dialogue *dialogue = data;
	guint8 buffer[16384];
	enum begin_state state = begin_read(&dialogue->child.begin, fd);
	if (state == BEGIN_WAITS)
		return G_SOURCE_CONTINUE;
	ssize_t got = state == BEGIN_DONE ? read(fd, buffer, sizeof buffer) : 0;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return G_SOURCE_CONTINUE;
	if (got <= 0) {
		dialogue->source = 0;
		handle_end(dialogue);
		return G_SOURCE_REMOVE;
	}
	g_byte_array_append(dialogue->input, buffer, (guint) got);
	handle_input(dialogue);
	return G_SOURCE_CONTINUE;
}

struct dialogue *dialogue_open(const struct remote_shell *shell, const struct host_address *host,
			       const char *const *command, const char *name, dialogue_heard heard,
			       void *data, GError **error)
{
	struct remote_child child;
	if (!remote_spawn(shell, host, REMOTE_ALONE, command, &child, error)) {
		error_prefix(error, "%s", name);
		return NULL;
	}
	struct dialogue *dialogue = g_new0(struct dialogue, 1);
	dialogue->child = child;
	dialogue->name = g_strdup(name);
	dialogue->heard = heard;
	dialogue->data = data;
	dialogue->input = g_byte_array_new();
	dialogue->newest = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
						 (GDestroyNotify) json_object_unref);
	fd_set_nonblocking(child.from, true);
	fd_set_nonblocking(child.to, true);
	dialogue->source =
		g_unix_fd_add(child.from, G_IO_IN | G_IO_HUP | G_IO_ERR, on_readable, dialogue);
	return dialogue;
}

JsonObject *dialogue_message(const char *type)
{
	JsonObject *message = json_object_new();
	json_object_set_string_member(message, "t", type);
	return message;
}

bool dialogue_send(struct dialogue *dialogue, JsonObject *message, GError **error)
{
	g_autofree char *text = json_print_object(message);
	g_autofree char *line = g_strconcat(text, "\n", NULL);
	json_object_unref(message);
	bool good = !dialogue->failure;
	if (!good && error)
		*error = g_error_copy(dialogue->failure);
	/* A message is far smaller than a pipe: what does not fit means that nobody reads. */
	if (good && !fd_write_all(dialogue->child.to, line, strlen(line)))
		good = error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("%s does not take messages: %s"), dialogue->name,
				 g_strerror(errno));
	/* the key may have been in it */
	explicit_bzero(text, strlen(text));
	explicit_bzero(line, strlen(line));
	return good;
}

JsonObject *dialogue_take(struct dialogue *dialogue, const char *type)
{
	gpointer key = NULL, message = NULL;
	if (!g_hash_table_steal_extended(dialogue->newest, type, &key, &message))
		return NULL;
	g_free(key);
	return message;
}

const GError *dialogue_failure(const struct dialogue *dialogue)
{
	return dialogue->failure;
}

const char *dialogue_name(const struct dialogue *dialogue)
{
	return dialogue->name;
}

char *dialogue_complaint(struct dialogue *dialogue)
{
	return remote_complaint(&dialogue->child);
}

bool dialogue_end(struct dialogue *dialogue)
{
	if (dialogue->source)
		g_source_remove(dialogue->source);
	int status = remote_end(&dialogue->child, END_GRACE_MS);
	g_byte_array_unref(dialogue->input);
	g_hash_table_unref(dialogue->newest);
	g_clear_error(&dialogue->failure);
	g_free(dialogue->name);
	g_free(dialogue);
	/* ssh says so when it was ended, and when the connection was lost */
	return status != -1 && WIFEXITED(status) && WEXITSTATUS(status) != SSH_FAILED;
}

void dialogue_free(struct dialogue *dialogue)
{
	if (dialogue)
		dialogue_end(dialogue);
}
