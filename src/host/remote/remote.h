/* SPDX-License-Identifier: Apache-2.0 */
/* Run a command at a host: locally, over ssh, or by the user's remote shell (--rsh, as rsync and
 * git allow). The child's stdin and stdout are ours; its stderr is collected for error messages
 * (bounded). The child is in its own session, so that ^C and a hang-up reach us and not it. When we
 * die it sees the end of its stdin.
 */
#pragma once
#include "host/remote/address.h"
#include "host/remote/begin.h"

#include <sys/types.h>

struct remote_shell {
	char **rsh; /* NULL: ssh with our options (BatchMode, keepalive 5 s x 3, no tty) */
	/* what runs watari at the hosts, words as for a shell; NULL: "watari" by their PATH */
	const char *watari;
};

#define REMOTE_COMPLAINT_MAX 4096

/* A handshake takes ssh some round trips and two processes tenths of a second. So short commands go
 * through the connection of the relay, if host_address.shared names a socket for that; where that
 * connection is gone they make their own. Movers always have their own: what ends one connection
 * must not end the other. */
enum remote_share {
	REMOTE_ALONE,
	REMOTE_FIRST, /* others may join this one */
	REMOTE_JOINS,
};
/* A path for host_address.shared that is ours alone; NULL if there is no safe place. Caller frees. */
char *remote_share_path(void);

struct remote_child {
	pid_t pid;
	int to;             /* its stdin */
	int from;           /* its stdout, non-blocking */
	struct begin begin; /* begin_read() comes before what it says itself (begin.h) */
	int errors;         /* its stderr, non-blocking */
	char complaint[REMOTE_COMPLAINT_MAX]; /* the last of its stderr so far */
	size_t complaint_length;
};

/* ARGV is quoted for the remote shell, or run without one as root here. Before its first byte is read,
 * begin_read(&child->begin, child->from) must have said BEGIN_DONE. */
bool remote_spawn(const struct remote_shell *shell, const struct host_address *host,
		  enum remote_share share, const char *const *argv, struct remote_child *child,
		  GError **error);
/* Take in what it said on stderr, so that it never waits for us. Never blocks. */
void remote_collect(struct remote_child *child);
/* What it said on stderr, or before it began, so far (last 4 KiB, made printable). Never blocks. Caller frees. */
char *remote_complaint(struct remote_child *child);
/* Close, wait up to GRACE_MS, then kill. Returns the wait status or -1. */
int remote_end(struct remote_child *child, int grace_ms);

/* Run ARGV to its end, at most TIMEOUT_MS: *output gets its stdout (at most 1 MiB, caller frees),
 * *status its exit status (128 + signal when killed; NULL: anything but 0 is an error). */
bool remote_run(const struct remote_shell *shell, const struct host_address *host,
		const char *const *argv, int timeout_ms, char **output, int *status,
		GError **error);
/* The same for a command that reads INPUT (of a few KiB) on its stdin, and must end well. */
bool remote_feed(const struct remote_shell *shell, const struct host_address *host,
		 const char *const *argv, const void *input, size_t length, int timeout_ms,
		 char **output, GError **error);
/* As remote_run, and *noise gets the first words that the login shell printed before; NULL: none. */
bool remote_run_aloud(const struct remote_shell *shell, const struct host_address *host,
		      const char *const *argv, int timeout_ms, char **output, char **noise,
		      int *status, GError **error);

/* SHELL's watari as words, of which there is one at least; SHELL may be NULL. Free with g_strfreev. */
char **remote_watari(const struct remote_shell *shell);
/* One string for a POSIX shell: each word quoted. Caller frees. */
char *remote_quote(const char *const *argv);
/* The argument vector that remote_spawn runs (for tests and messages). Free with g_strfreev. */
char **remote_command(const struct remote_shell *shell, const struct host_address *host,
		      enum remote_share share, const char *const *argv);
