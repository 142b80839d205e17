/* SPDX-License-Identifier: Apache-2.0 */
/* Which machine a host is. libvirt's host UUID is the board's own, and cheap boards, clones and nested
 * hosts have it more than once; a name or an address means another machine after a change of DNS. */
#pragma once
#include "base/i18n.h"
#include "host/host.h"
#include "host/remote/remote.h"

/* Fill host->machine and host->instance, as far as the host says them. Blocks for one short command. */
void machine_read(const struct remote_shell *shell, struct host *host);

enum machine_relation {
	MACHINE_SAME,
	MACHINE_OTHER,
	MACHINE_TWINS /* two machines, which libvirt takes for one because of their UUID */
};
/* For a person, marked with N_(): both hosts' names and the UUID; and the next step. */
#define MACHINE_TWINS_WORDS                                                                        \
	N_("%s and %s are two machines, but libvirt at both says the same host UUID (%s), and it " \
	   "refuses to migrate between hosts of one UUID")
#define MACHINE_TWINS_CURE                                                                         \
	N_("Give one of them a UUID of its own there: host_uuid = \"…\" (uuidgen makes one) in " \
	   "/etc/libvirt/libvirtd.conf, or virtqemud.conf, then restart that daemon; VMs run on.")
enum machine_relation machine_compare(const struct host *one, const struct host *other);
