/* SPDX-License-Identifier: Apache-2.0 */
/* The link through ssh, where nothing else passes the firewall: both movers listen on a unix
 * socket; for each connection of the link two `watari mover --attach PATH`, one at each host, are
 * started over the remote shell, and what one writes is given to the other. The bytes are the
 * link's own TLS; they are not looked at.
 *
 * A thread of its own carries the bytes and starts a broken pair again, with back-off. */
#pragma once
#include "host/remote/remote.h"

struct ssh_link_end {
	const struct host_address *host; /* kept until ssh_link_free() */
	char **command;                  /* taken */
};

struct ssh_link;
struct ssh_link *ssh_link_new(const struct remote_shell *shell, const struct ssh_link_end ends[2],
			      unsigned connections);
/* Ends the children and the thread. */
void ssh_link_free(struct ssh_link *ssh_link);
