/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of a host, as its kernel tells: what is really free for a new VM, all in all and by
 * memory node, and the huge pages. Read in one go over the shell.
 */
#pragma once
#include "host/remote/remote.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum { ROOM_NODES_MOST = 256, ROOM_PAGES_MOST = 16 };

struct room_node {
	uint64_t total_bytes, available_bytes;
};

struct room_pages {
	uint64_t size_bytes;
	uint64_t free_bytes; /* not promised to anybody, and what may be added on demand */
	bool mounted;        /* libvirt uses only sizes of which a file system is mounted */
};

struct room {
	uint64_t total_bytes;
	/* Free, or given up by the kernel when it is asked for. Neither tmpfs nor memfd, which hold
	 * other VMs' memory as well, nor reserved huge pages. */
	uint64_t available_bytes;
	uint64_t arc_bytes;     /* of that, what ZFS would give back */
	uint64_t shared_bytes;  /* tmpfs and memfd, for messages */
	uint64_t free_bytes;    /* not even page cache must go for it */
	bool strict;            /* the kernel promises no more than it has (overcommit_memory=2) */
	uint64_t promise_bytes; /* then: what it would still promise */
	uint64_t file_bytes;    /* room where libvirt keeps memory that is a file; 0: not known */
	struct room_node nodes[ROOM_NODES_MOST];
	unsigned pages_count;
	struct room_pages pages[ROOM_PAGES_MOST];
	uint64_t default_page_bytes; /* huge pages of no named size; 0: none */
};

/* TEXT is what the script of room_ask prints. False when it says nothing of memory. */
bool room_parse(const char *text, struct room *room);
/* False when the host could not be asked. */
bool room_ask(const struct remote_shell *shell, const struct host_address *host, struct room *room);
/* The pages of SIZE_BYTES; NULL: the host has none of that size. */
const struct room_pages *room_find_pages(const struct room *room, uint64_t size_bytes);
