/* SPDX-License-Identifier: Apache-2.0 */
/* A file between two hosts. See transfer.h. */
#include "host/transfer.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/i18n.h"
#include "host/image.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TICK_MS = 200, END_MS = 60000, DIGEST_MS = 3600 * 1000, CHUNK = 256 * 1024, LINE = 128 };

/* ---- the scripts ---- */

static const char send_script[] =
	"if test -d \"$1\"; then exec tar -C \"$1\" -cf - .; else exec cat -- \"$1\"; fi\n";

/* Noclobber and mkdir make it only where nothing is; a file is meant by descriptor 9 from then on, so that no link that
 * takes its place is followed. Its mode is for its owner alone. The first line is said before any byte is taken, the
 * second when all is written. */
static const char receive_file_script[] =
	"p=$1 o=$2 f=/proc/self/fd/9; umask 077; set -C; command exec 9>\"$p\" || exit 3\n"
	"{ stat -L -c %d:%i:%W $f 2>/dev/null || stat -L -c %d:%i $f; } && dd bs=64k "
	"iflag=fullblock "
	"conv=sparse status=none >&9 && { test -z "
	"\"$o\" || chown \"$o\" $f; } &&\n"
	"sync -- $f && echo whole\n";
static const char receive_directory_script[] =
	"p=$1; umask 077; mkdir -- \"$p\" || exit 3\n"
	"{ stat -c %d:%i:%W -- \"$p\" 2>/dev/null || stat -c %d:%i -- \"$p\"; } && tar -C \"$p\" "
	"-xpf - && sync -f -- \"$p\" && echo whole\n";

static const char digest_script[] = "test -e \"$1\" || exit 0\n"
				    "if test -d \"$1\"; then cd -- \"$1\" && find . -type f -exec "
				    "sha256sum {} + | LC_ALL=C sort | "
				    "sha256sum; else sha256sum <\"$1\"; fi\n";

char *transfer_digest(const struct remote_shell *shell, const struct host_address *host,
		      const char *path, GError **error)
{
	const char *const argv[] = { "sh", "-c", digest_script, "sh", path, NULL };
	char *output = NULL;
	if (!remote_run(shell, host, argv, DIGEST_MS, &output, NULL, error)) {
		error_prefix(error, "%s", path);
		return NULL;
	}
	output[strspn(output, "0123456789abcdef")] = 0;
	return output;
}

/* ---- the bytes ---- */

/* Sleeps as long as the cap wants it. */
static void keep_transfer_rate(const struct transfer *transfer, int64_t start_us)
{
	if (!transfer->rate)
		return;
	double due_us = (double) transfer->bytes / (double) transfer->rate * 1e6;
	double ahead_us = due_us - (double) (clock_now_us() - start_us);
	if (ahead_us > 0)
		g_usleep((gulong) MIN(ahead_us, TICK_MS * 1000.0));
}

/* True when a piece went over, or none came yet; *ended at the end. */
static bool relay_piece(struct transfer *transfer, uint8_t *chunk, bool *ended)
{
	struct pollfd ready = { .fd = transfer->from.from, .events = POLLIN };
	remote_collect(&transfer->from);
	remote_collect(&transfer->to);
	if (poll(&ready, 1, TICK_MS) <= 0)
		return true;
	enum begin_state state = begin_read(&transfer->from.begin, transfer->from.from);
	if (state != BEGIN_DONE)
		return state == BEGIN_WAITS;
	ssize_t got = read(transfer->from.from, chunk, CHUNK);
	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	*ended = got == 0;
	if (got <= 0)
		return got == 0;
	transfer->bytes += (uint64_t) got;
	return fd_write_all(transfer->to.to, chunk, (size_t) got);
}

/* If it fails without a word, the children say why. */
static bool relay_all(struct transfer *transfer, GError **error)
{
	g_autofree uint8_t *chunk = g_malloc(CHUNK);
	int64_t start_us = clock_now_us();
	bool ended = false, good = true;
	while (good && !ended) {
		if (g_atomic_int_get(&transfer->stop))
			return error_set(error, WATARI_ERROR_CANCELLED, NULL,
					 _("cancelled by the user"));
		good = relay_piece(transfer, chunk, &ended);
		keep_transfer_rate(transfer, start_us);
	}
	return good;
}

/* ---- the ends ---- */

/* One line that the receiving script says; NULL: none came. */
static char *read_line(struct remote_child *child)
{
	g_autoptr(GString) line = g_string_new(NULL);
	int64_t until_ms = clock_now_ms() + END_MS;
	while (line->len < LINE && clock_now_ms() < until_ms) {
		struct pollfd ready = { .fd = child->from, .events = POLLIN };
		char byte;
		remote_collect(child);
		if (poll(&ready, 1, TICK_MS) <= 0)
			continue;
		enum begin_state state = begin_read(&child->begin, child->from);
		if (state == BEGIN_BROKEN)
			break;
		if (state == BEGIN_WAITS)
			continue;
		ssize_t got = read(child->from, &byte, 1);
		if (got == 1 && byte == '\n')
			return g_strdup(line->str);
		if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN))
			break;
		if (got == 1)
			g_string_append_c(line, byte);
	}
	return NULL;
}

static bool end_one(struct remote_child *child, const struct host_address *host, int grace_ms,
		    GError **error)
{
	int status = remote_end(child, grace_ms);
	g_autofree char *complaint = remote_complaint(child);
	return (status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) || *error ||
	       error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s: %s", host->text,
			 *complaint ? complaint : _("the copying did not end well"));
}

bool transfer_begin(struct transfer *transfer, GError **error)
{
	g_autofree char *owner = transfer->uid >= 0 && transfer->gid >= 0
					 ? g_strdup_printf("%d:%d", transfer->uid, transfer->gid)
					 : g_strdup("");
	const char *script = transfer->directory ? receive_directory_script : receive_file_script;
	const char *const argv[] = { "sh", "-c", script, "sh", transfer->path_there, owner, NULL };
	if (!remote_spawn(transfer->shell, transfer->destination, REMOTE_JOINS, argv, &transfer->to,
			  error))
		return false;
	transfer->identity = read_line(&transfer->to);
	if (transfer->identity)
		return true;
	end_one(&transfer->to, transfer->destination, END_MS, error);
	if (!*error)
		error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s: %s", transfer->destination->text,
			  _("the copying did not end well"));
	return false;
}

/* What was cut short is never taken for the whole: the caller removes it. */
static bool relay_content(struct transfer *transfer, GError **error)
{
	const char *const argv[] = { "sh", "-c", send_script, "sh", transfer->path, NULL };
	bool sent = remote_spawn(transfer->shell, transfer->source, REMOTE_JOINS, argv,
				 &transfer->from, error);
	if (sent) {
		sent = relay_all(transfer, error);
		sent = end_one(&transfer->from, transfer->source, sent ? END_MS : 0, error) && sent;
	}
	close(fd_steal(&transfer->to.to));
	g_autofree char *said = read_line(&transfer->to);
	bool received = end_one(&transfer->to, transfer->destination, END_MS, error);
	return sent && received && g_strcmp0(said, "whole") == 0 && !*error;
}

static bool compare_digests(const struct transfer *transfer, GError **error)
{
	const struct remote_shell *shell = transfer->shell;
	g_autofree char *here = transfer_digest(shell, transfer->source, transfer->path, error);
	g_autofree char *there =
		here ? transfer_digest(shell, transfer->destination, transfer->path_there, error)
		     : NULL;
	if (!here || !there)
		return false;
	return transfer->changes || (*here && g_str_equal(here, there)) ||
	       error_set(error, WATARI_ERROR_INTERNAL, _("Try again."),
			 _("%s has changed while it was copied, or its copy differs"),
			 transfer->path);
}

bool transfer_finish(struct transfer *transfer, GError **error)
{
	g_autoptr(GError) failure = NULL;
	if (relay_content(transfer, &failure) && compare_digests(transfer, &failure))
		return true;
	image_remove(transfer->shell, transfer->destination, transfer->path_there,
		     transfer->identity, NULL);
	if (failure)
		g_propagate_error(error, g_steal_pointer(&failure));
	else
		error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s: %s", transfer->path,
			  _("the copying did not end well"));
	return false;
}
