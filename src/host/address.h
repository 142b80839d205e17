/* SPDX-License-Identifier: Apache-2.0 */
/* Which host, as the user named it: nothing (local), a host name, an ssh alias, user@host, or a
 * libvirt URI; libvirt's uri_aliases and LIBVIRT_DEFAULT_URI are respected.
 *
 * What can be guarded is what runs over a pipe that we hold: a local unix socket, or ssh (or a
 * remote shell of the user's). qemu+tls:// and qemu+tcp:// are refused with that reason.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct host_address {
	char *text;    /* as given, for messages */
	char *shell;   /* what ssh gets as destination ("root@b", "alias"); NULL: this machine */
	int port;      /* ssh port from the URI; 0: ssh's own */
	char *keyfile; /* ssh key from the URI; NULL: ssh's own */
	char *socket;  /* libvirt's socket at that host if the URI says so; NULL: find it */
	bool session;  /* qemu:///session was asked for: refused by checks with the reason */
};

struct host_address *host_address_parse(const char *text, GError **error); /* NULL text: local */
/* "HOST:VM" (or a bare VM) into both; DOMAIN points into TEXT. */
struct host_address *host_address_split_vm(const char *text, const char **domain, GError **error);
void host_address_free(struct host_address *address);

