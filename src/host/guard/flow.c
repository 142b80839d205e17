/* SPDX-License-Identifier: Apache-2.0 */
/* One direction of a relay. See flow.h. */
#include "host/guard/flow.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>

void flow_init(struct flow *flow, flow_look look, void *data)
{
	*flow = (struct flow){ .bytes = g_malloc(FLOW_BYTES), .look = look, .data = data };
}

void flow_clear(struct flow *flow)
{
	g_clear_pointer(&flow->bytes, g_free);
	flow->start = flow->cleared = flow->end = 0;
}

bool flow_has_room(const struct flow *flow)
{
	return flow->bytes && flow->end - flow->start < FLOW_BYTES;
}

static void clear_passing(struct flow *flow)
{
	size_t count = MIN(flow->end - flow->cleared, flow->passing);
	flow->cleared += count;
	flow->passing -= (uint32_t) count;
	if (flow->passing == 0)
		flow->look(flow->data, NULL, NULL, 0);
}

/* True when a packet was let through or the rest given up as plain. */
static bool look_at_packet(struct flow *flow)
{
	struct rpc_header header;
	const uint8_t *packet = flow->bytes + flow->cleared;
	size_t available = flow->end - flow->cleared;
	if (available < RPC_HEADER_BYTES)
		return false;
	if (!rpc_read_header(packet, &header)) {
		flow->plain = true;
		return true;
	}
	available = MIN(available, header.length);
	if (flow->look(flow->data, &header, packet, available) == FLOW_KEEP)
		return false;
	flow->passing = header.length;
	return true;
}

void flow_examine(struct flow *flow)
{
	while (flow->bytes && flow->cleared < flow->end) {
		if (flow->plain)
			flow->cleared = flow->end;
		else if (flow->passing > 0)
			clear_passing(flow);
		else if (!look_at_packet(flow))
			return;
	}
}

ssize_t flow_read(struct flow *flow, int fd)
{
	if (!flow_has_room(flow)) {
		errno = ENOBUFS;
		return -1;
	}
	if (flow->start > 0) {
		memmove(flow->bytes, flow->bytes + flow->start, flow->end - flow->start);
		flow->cleared -= flow->start;
		flow->end -= flow->start;
		flow->start = 0;
	}
	ssize_t got;
	do {
		got = read(fd, flow->bytes + flow->end, FLOW_BYTES - flow->end);
	} while (got < 0 && errno == EINTR);
	if (got > 0) {
		flow->end += (size_t) got;
		flow_examine(flow);
	}
	return got;
}

bool flow_write(struct flow *flow, int fd)
{
	while (flow_has_output(flow)) {
		ssize_t put = write(fd, flow->bytes + flow->start, flow->cleared - flow->start);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return errno == EAGAIN;
		flow->start += (size_t) put;
	}
	return true;
}
