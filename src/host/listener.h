/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses a host has, and which ports of it are taken: asked in one go over the shell, from
 * ip(8) and ss(8).
 */
#pragma once
#include "host/remote/remote.h"

#include <glib.h>
#include <stdbool.h>

struct listener {
	bool udp;
	char *address; /* "*": all of both kinds; "0.0.0.0", "::": all of one */
	int port;
	int pid;    /* 0: not known */
	char *name; /* of the process; NULL: not known */
};

struct listeners {
	GPtrArray *addresses; /* char *; empty: not known */
	GPtrArray *taken;     /* struct listener */
	GHashTable *guests;   /* pid: name of the VM */
	bool any_address; /* the kernel lets anybody listen on addresses that it does not have */
};

/* TEXT is what the script of listeners_ask prints. */
struct listeners *listeners_parse(const char *text);
/* NULL when the host could not be asked. */
struct listeners *listeners_ask(const struct remote_shell *shell, const struct host_address *host);
void listeners_free(struct listeners *listeners);

/* Can a process listen on ADDRESS ("", NULL or a name: cannot be said, true)? */
bool listeners_have(const struct listeners *listeners, const char *address);
/* Who listens on PORT of ADDRESS ("" or NULL: of all); NULL: nobody. */
const struct listener *listeners_find(const struct listeners *listeners, bool udp,
				      const char *address, int port);
/* Who that is, for a message. Caller frees. */
char *listeners_describe(const struct listeners *listeners, const struct listener *listener);
