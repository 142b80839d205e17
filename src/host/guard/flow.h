/* SPDX-License-Identifier: Apache-2.0 */
/* One direction of a relay: a bounded buffer that lets bytes through packet by packet.
 *
 * Bytes are read in at the end, looked at, cleared, and written out from the start. A packet header
 * is never let through in part, so whoever looks sees a packet before its first byte has left. A
 * packet that matters is kept until it is whole (when it fits at all). What is not libvirt's RPC is
 * let through as it comes from that byte on (`plain`).
 *
 * Used by the guard's thread only.
 */
#pragma once
#include "host/guard/rpc.h"

#include <sys/types.h>

#define FLOW_BYTES (256 * 1024)

enum flow_verdict {
	FLOW_PASS, /* let this packet through */
	FLOW_KEEP, /* keep it and everything behind it; show it again when more has come */
};

/* PACKET has AVAILABLE bytes, at least its header. HEADER NULL: the last byte of the packet passed
 * before has been cleared. */
typedef enum flow_verdict (*flow_look)(void *data, const struct rpc_header *header,
				       const uint8_t *packet, size_t available);

struct flow {
	uint8_t *bytes;
	size_t start, cleared, end; /* [start, cleared) may leave, [cleared, end) not yet */
	uint32_t passing; /* bytes of the packet being let through that were not cleared yet */
	bool plain;
	flow_look look;
	void *data; /* for look */
};

/* Wait for the rest of a packet? Not when it is all there or could never be. */
static inline bool flow_should_wait(const struct rpc_header *header, size_t available)
{
	return available < header->length && header->length <= FLOW_BYTES;
}

void flow_init(struct flow *flow, flow_look look, void *data);
void flow_clear(struct flow *flow); /* frees */
/* Take what FD has. Returns bytes read, 0 at its end, -1 with errno (EAGAIN; ENOBUFS: no room). */
ssize_t flow_read(struct flow *flow, int fd);
/* Look at what came; called by flow_read. */
void flow_examine(struct flow *flow);
/* Write what may leave. False with errno when FD is broken (not for EAGAIN). */
bool flow_write(struct flow *flow, int fd);
bool flow_has_room(const struct flow *flow);
static inline bool flow_has_output(const struct flow *flow)
{
	return flow->cleared > flow->start;
}
