/* SPDX-License-Identifier: Apache-2.0 */
/* Run a command at a host: locally, over ssh, or by the user's remote shell (--rsh, as rsync and
 * git allow). The child's stdin and stdout are ours; its stderr is collected for error messages
 * (bounded). The child is in its own process group, so that ^C reaches us and not it.
 */
#pragma once
#include "host/address.h"

#include <sys/types.h>

struct remote_shell {
	char **rsh; /* NULL: ssh with our options (BatchMode, keepalive 5 s x 3, no tty) */
};

struct remote_child {
	pid_t pid;
	int to;	    /* its stdin */
	int from;   /* its stdout */
	int errors; /* its stderr, non-blocking */
};

/* ARGV is run without a shell locally and quoted for the remote shell otherwise. */
bool remote_spawn(const struct remote_shell *shell, const struct host_address *host,
		  const char *const *argv, struct remote_child *child, GError **error);
/* What it said on stderr so far (last 4 KiB, made printable). Caller frees. */
char *remote_complaint(struct remote_child *child);
/* Close, wait up to GRACE_MS, then kill. Returns the wait status or -1. */
int remote_end(struct remote_child *child, int grace_ms);
