/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's tools at a host. See storage.h. */
#include "host/storage.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/i18n.h"

#include <errno.h>
#include <json-glib/json-glib.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>

enum { READY_MS = 20000, END_MS = 5000, COPY_END_MS = 2000, TAIL = 64 };

static void free_image(gpointer data)
{
	struct storage_image *image = data;
	g_free(image->export);
	g_free(image->path);
	g_free(image->format);
	g_free(image);
}

GPtrArray *storage_images_new(void)
{
	return g_ptr_array_new_with_free_func(free_image);
}

/* ---- the daemon ---- */

struct storage {
	struct remote_child child;
};

/* It writes the file with its number when all that it was told to do is done. A mover that ended first
 * could not take its directory away. A conductor whose machine crashed never closes stdin: then it ends
 * when the mover (or whoever swept that away) has taken its socket. */
static const char serve_script[] =
	"s=$1; f=$1.pid; shift\n"
	"\"$@\" --pidfile \"$f\" >&2 </dev/null & p=$!\n"
	"while ! test -s \"$f\"; do\n"
	"  kill -0 $p 2>/dev/null || { wait $p; e=$?; rm -f -- \"$s\"; exit $e; }\n"
	"  sleep 0.02\n"
	"done\n"
	"exec 3<&0; cat <&3 >/dev/null 2>&1 3<&- & c=$!\n"
	"exec 3<&-\n"
	"{ while test -e \"$f\" && test -e \"$s\"; do sleep 1; done; kill $c; } >/dev/null 2>&1 "
	"</dev/null & w=$!\n"
	"echo ready; wait $c; kill $w 2>/dev/null\n"
	"kill $p; wait $p; rm -f -- \"$f\" \"$s\"\n"
	"d=${s%/*}; rmdir -- \"$d\" 2>/dev/null\n"
	"case ${d%/*} in */watari) rmdir -- \"${d%/*}\" 2>/dev/null ;; esac; exit 0\n";

static char *print_object(JsonObject *object)
{
	g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
	json_node_take_object(node, object);
	return json_to_string(node, FALSE);
}

static JsonObject *describe_file(const struct storage_image *image)
{
	JsonObject *file = json_object_new();
	json_object_set_string_member(file, "driver", image->block ? "host_device" : "file");
	json_object_set_string_member(file, "filename", image->path);
	json_object_set_string_member(file, "discard", "unmap");
	return file;
}

static char *describe_node(const struct storage_image *image)
{
	JsonObject *node = json_object_new();
	json_object_set_string_member(node, "driver", image->format);
	json_object_set_string_member(node, "node-name", image->export);
	json_object_set_string_member(node, "discard", "unmap");
	if (image->slice)
		json_object_set_int_member(node, "size", (gint64) image->slice);
	json_object_set_object_member(node, "file", describe_file(image));
	return print_object(node);
}

static char *describe_server(const char *socket)
{
	JsonObject *server = json_object_new(), *address = json_object_new();
	json_object_set_string_member(address, "type", "unix");
	json_object_set_string_member(address, "path", socket);
	json_object_set_object_member(server, "addr", address);
	return print_object(server);
}

static char *describe_export(const struct storage_image *image)
{
	JsonObject *export = json_object_new();
	json_object_set_string_member(export, "type", "nbd");
	json_object_set_string_member(export, "id", image->export);
	json_object_set_string_member(export, "node-name", image->export);
	json_object_set_string_member(export, "name", image->export);
	json_object_set_boolean_member(export, "writable", TRUE);
	return print_object(export);
}

static void add_option(GPtrArray *words, const char *option, char *value)
{
	g_ptr_array_add(words, g_strdup(option));
	g_ptr_array_add(words, value);
}

static void add_storage_words(GPtrArray *words, const char *const *more)
{
	for (; *more; more++)
		g_ptr_array_add(words, g_strdup(*more));
}

static GPtrArray *serve_words(const char *const *helper, const char *socket,
			      const GPtrArray *images)
{
	GPtrArray *words = g_ptr_array_new_with_free_func(g_free);
	const char *const head[] = { "sh", "-c", serve_script, "sh", socket, NULL };
	add_storage_words(words, head);
	add_storage_words(words, helper);
	g_ptr_array_add(words, g_strdup("qemu-storage-daemon"));
	for (guint i = 0; i < images->len; i++)
		add_option(words, "--blockdev", describe_node(images->pdata[i]));
	add_option(words, "--nbd-server", describe_server(socket));
	for (guint i = 0; i < images->len; i++)
		add_option(words, "--export", describe_export(images->pdata[i]));
	g_ptr_array_add(words, NULL);
	return words;
}

/* One line is all that it says. */
static bool wait_ready(struct remote_child *child)
{
	int64_t until = clock_now_ms() + READY_MS;
	for (;;) {
		struct pollfd ready = { .fd = child->from, .events = POLLIN };
		int64_t left = until - clock_now_ms();
		char byte;
		if (left <= 0)
			return false;
		if (poll(&ready, 1, (int) left) <= 0)
			continue;
		enum begin_state state = begin_read(&child->begin, child->from);
		if (state == BEGIN_BROKEN)
			return false;
		if (state == BEGIN_WAITS)
			continue;
		ssize_t got = read(child->from, &byte, 1);
		if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN))
			return false;
		if (got == 1 && byte == '\n')
			return true;
	}
}

struct storage *storage_serve(const struct remote_shell *shell, const struct host_address *host,
			      const char *const *helper, const char *socket,
			      const GPtrArray *images, GError **error)
{
	g_autoptr(GPtrArray) words = serve_words(helper, socket, images);
	struct storage *storage = g_new0(struct storage, 1);
	bool spawned = remote_spawn(shell, host, REMOTE_JOINS, (const char *const *) words->pdata,
				    &storage->child, error);
	if (spawned && wait_ready(&storage->child))
		return storage;
	if (spawned) {
		remote_end(&storage->child, END_MS);
		g_autofree char *complaint = remote_complaint(&storage->child);
		error_set(error, WATARI_ERROR_INTERNAL,
			  _("It must be installed there (package qemu-system-common)."),
			  _("qemu-storage-daemon cannot serve the new images: %s"),
			  *complaint ? complaint : _("no answer in time"));
	}
	g_free(storage);
	return NULL;
}

void storage_end(struct storage *storage)
{
	if (!storage)
		return;
	remote_end(&storage->child, END_MS);
	g_free(storage);
}

/* ---- copying ---- */

struct storage_copy {
	struct remote_child child;
	char tail[TAIL]; /* the last of its stdout */
	size_t tail_length;
	bool ended; /* it has closed its stdout */
};

/* Ended by hand, it must not go on at the host: so stdin is watched. */
static const char copy_script[] = "exec 3<&0; \"$@\" </dev/null 3<&- & p=$!\n"
				  "{ cat <&3; kill $p; } >/dev/null 2>&1 & c=$!\n"
				  "exec 3<&-; wait $p; s=$?; kill $c 2>/dev/null; exit $s\n";

/* Its own default would be not to flush. */
static GPtrArray *copy_words(const char *const *helper, const struct storage_source *source)
{
	static const char *const head[] = { "sh", "-c", copy_script, "sh", NULL };
	static const char *const convert[] = { "qemu-img",  "convert", "-p",  "-n",
					       "-W",        "-m",      "8",   "-t",
					       "writeback", "-O",      "raw", NULL };
	GPtrArray *words = g_ptr_array_new_with_free_func(g_free);
	g_autofree char *socket = g_uri_escape_string(source->socket, "/", FALSE);
	add_storage_words(words, head);
	add_storage_words(words, helper);
	add_storage_words(words, convert);
	add_option(words, "-f", g_strdup(source->format));
	if (source->fresh)
		g_ptr_array_add(words, g_strdup("--target-is-zero"));
	if (source->backing) {
		add_option(words, "-B", g_strdup(source->backing));
		add_option(words, "-F", g_strdup(source->backing_format));
	}
	add_option(words, "--", g_strdup(source->path));
	g_ptr_array_add(words, g_strdup_printf("nbd+unix:///%s?socket=%s", source->export, socket));
	g_ptr_array_add(words, NULL);
	return words;
}

struct storage_copy *storage_copy_start(const struct remote_shell *shell,
					const struct host_address *host, const char *const *helper,
					const struct storage_source *source, GError **error)
{
	g_autoptr(GPtrArray) words = copy_words(helper, source);
	struct storage_copy *copy = g_new0(struct storage_copy, 1);
	if (remote_spawn(shell, host, REMOTE_JOINS, (const char *const *) words->pdata,
			 &copy->child, error)) {
		fd_set_nonblocking(copy->child.from, true);
		return copy;
	}
	g_free(copy);
	return NULL;
}

static void keep_tail(struct storage_copy *copy, const char *data, size_t length)
{
	size_t room = TAIL - 1;
	if (length > room) {
		data += length - room;
		length = room;
	}
	size_t kept = MIN(copy->tail_length, room - length);
	memmove(copy->tail, copy->tail + copy->tail_length - kept, kept);
	memcpy(copy->tail + kept, data, length);
	copy->tail_length = kept + length;
	copy->tail[copy->tail_length] = 0;
}

/* "    (12.34/100%)", one over the other. */
static void read_part(const struct storage_copy *copy, double *part)
{
	const char *slash = g_strrstr(copy->tail, "/100%)");
	const char *at = slash;
	while (at && at > copy->tail && *at != '(')
		at--;
	if (at && *at == '(')
		*part = CLAMP(g_ascii_strtod(at + 1, NULL) / 100, 0, 1);
}

bool storage_copy_look(struct storage_copy *copy, double *part)
{
	char data[1024];
	remote_collect(&copy->child);
	enum begin_state state = begin_read(&copy->child.begin, copy->child.from);
	copy->ended = copy->ended || state == BEGIN_BROKEN;
	while (!copy->ended && state == BEGIN_DONE) {
		ssize_t got = read(copy->child.from, data, sizeof data);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			break;
		copy->ended = got <= 0;
		if (got > 0)
			keep_tail(copy, data, (size_t) got);
	}
	read_part(copy, part);
	return !copy->ended;
}

bool storage_copy_end(struct storage_copy *copy, GError **error)
{
	bool ended = copy->ended;
	int status = remote_end(&copy->child, COPY_END_MS);
	g_autofree char *complaint = remote_complaint(&copy->child);
	g_free(copy);
	if (ended && status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	return error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s",
			 *complaint ? complaint : _("qemu-img did not end well"));
}
