/* SPDX-License-Identifier: Apache-2.0 */
/* Which host, as the user named it: nothing (local), a host name, an ssh alias, user@host, an IPv6
 * address, or a libvirt URI; libvirt's uri_aliases, uri_default and LIBVIRT_DEFAULT_URI are
 * respected.
 *
 * What can be guarded is what runs over a pipe that we hold: a local unix socket, or ssh (or a
 * remote shell of the user's). qemu+tls://, qemu+tcp://, qemu:///session and other hypervisors are
 * refused with that reason (WATARI_ERROR_USAGE).
 *
 * Nothing that begins with '-' ever leaves here as a host or a user: ssh would take it for an
 * option.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct host_address {
	char *text;     /* as given, for messages */
	char *shell;    /* what ssh gets as destination ("root@b", "alias"); NULL: this machine */
	int port;       /* ssh port from the URI; 0: ssh's own */
	char *keyfile;  /* ssh key from the URI; NULL: ssh's own */
	char *socket;   /* libvirt's socket at that host if the URI says so; NULL: find it */
	char *netcat;   /* the URI's netcat program; NULL: virt-ssh-helper, else nc */
	char *command;  /* the URI's ssh program; NULL: "ssh" */
	bool no_verify; /* the URI says not to check host keys */
	char *shared;   /* socket by which short commands share one ssh connection; NULL: none */
};

struct host_address *host_address_parse(const char *text, GError **error); /* NULL text: local */
/* "HOST:VM", "[IPv6]:VM", ":VM" or a bare VM into both; DOMAIN points into TEXT. */
struct host_address *host_address_split_vm(const char *text, const char **domain, GError **error);
void host_address_free(struct host_address *address);
