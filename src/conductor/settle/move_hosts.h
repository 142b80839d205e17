/* SPDX-License-Identifier: Apache-2.0 */
/* Between which machines a move of the journal went: by what libvirt and the system there say, not by the
 * texts that a user typed. Only inside src/conductor. */
#pragma once
#include "conductor/core/move.h"

/* What a machine says of itself. Strings NULL: not known. */
struct move_host {
	char *uuid;    /* libvirt's */
	char *machine; /* its /etc/machine-id */
};

/* Both hosts of MOVE, which are open, into the OPTIONS of its row. */
void move_hosts_describe(const struct move *move, JsonObject *options);
/* As the row MOVE has them; free both with move_host_clear(). */
void move_hosts_read(const struct journal_move *row, struct move_host hosts[MOVE_SIDES]);
void move_host_clear(struct move_host *host);
/* May the side of MOVE be the machine HOST, which was named TEXT? Where either of them did not say who it
 * is, the texts decide. */
bool move_hosts_match(const struct journal_move *row, enum move_side side,
		      const struct move_host *host, const char *text);
