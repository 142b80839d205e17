/* SPDX-License-Identifier: Apache-2.0 */
/* One relay of the guard: a unix socket for libvirt's client library on one side, a host's libvirt
 * on the other (its unix socket, or a child process that leads to it).
 *
 * A relay moves bytes; it decides nothing. Used by the guard, under its lock.
 */
#pragma once
#include "host/guard/flow.h"
#include "host/remote/remote.h"

struct relay {
	char *folder; /* private directory of the socket; NULL once the client is there */
	char *path;
	int listener;              /* -1 once the client is there */
	int client;                /* the library's end */
	int to, from;              /* the host's end; they may be the same socket */
	struct remote_child child; /* pid -1: local */
	struct flow calls;         /* client to host */
	struct flow answers;       /* host to client */
	bool client_gone;          /* the library closed its end */
	bool host_gone;            /* the host's end is at its end or broken */
	bool closed;               /* both ends are closed */
	char *reason;              /* why the host's end broke, if known */
};

bool relay_open(struct relay *relay, const struct remote_shell *shell,
		const struct host_address *host, GError **error);
/* The URI for the library. Caller frees. */
char *relay_uri(const struct relay *relay);
void relay_free(struct relay *relay); /* ends the child, may take some 100 ms */

/* Let the library in, if it knocks. */
void relay_accept(struct relay *relay);
/* Take in what both ends have. Sets client_gone and host_gone. */
void relay_read(struct relay *relay);
/* Pass on what may leave. */
void relay_write(struct relay *relay);
/* Close the library's end: it can neither say nor hear anything more. */
void relay_close_client(struct relay *relay);
/* Close the host's end. NOW: the child is ended at once, what it has not sent yet is lost. */
void relay_close_host(struct relay *relay, bool now);
