/* SPDX-License-Identifier: Apache-2.0 */
/* The guard's reading of libvirt's packets: whatever comes, in whatever pieces, the same bytes go
 * out, in order, none before its packet was looked at. The first byte chooses the pieces. */
#include "base/fd.h"
#include "host/guard/flow.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum flow_verdict look(void *data, const struct rpc_header *header, const uint8_t *packet,
			      size_t available)
{
	unsigned *cancelled = data;
	if (!header || !(rpc_is_finish_call(header) || rpc_is_confirm_call(header)))
		return FLOW_PASS;
	if (flow_should_wait(header, available))
		return FLOW_KEEP;
	if (available == header->length)
		*cancelled += rpc_is_cancelled(packet, header);
	return FLOW_PASS;
}

/* Everything from FD must be what stands at *AT. */
static void expect(int fd, const uint8_t **at, const uint8_t *end)
{
	uint8_t out[4096];
	ssize_t got;
	while ((got = read(fd, out, sizeof(out))) > 0) {
		if (got > end - *at || memcmp(out, *at, (size_t) got) != 0)
			abort();
		*at += got;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int in[2] = { -1, -1 }, onward[2];
	unsigned cancelled = 0;
	if (size < 2 || size > 32768)
		return 0;
	if (in[0] < 0 && (pipe(in) != 0 || pipe(onward) != 0))
		abort();
	fd_set_nonblocking(in[0], true);
	fd_set_nonblocking(onward[0], true);
	fd_set_nonblocking(onward[1], true);
	struct flow flow;
	flow_init(&flow, look, &cancelled);
	size_t piece = (size_t) data[0] + 1;
	const uint8_t *end = data + size, *seen = ++data;
	while (data < end) {
		size_t now = (size_t) (end - data) < piece ? (size_t) (end - data) : piece;
		if (write(in[1], data, now) != (ssize_t) now)
			abort();
		data += now;
		while (flow_read(&flow, in[0]) > 0)
			;
		if (!flow_write(&flow, onward[1]))
			abort();
		expect(onward[0], &seen, end);
	}
	/* what has not left is waiting in the buffer, nothing is lost */
	if ((size_t) (end - seen) != flow.end - flow.start)
		abort();
	flow_clear(&flow);
	return 0;
}
