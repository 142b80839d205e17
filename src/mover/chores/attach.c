/* SPDX-License-Identifier: Apache-2.0 */
/* Copies bytes between stdin, stdout and a mover's socket. */
#include "mover/chores/attach.h"

#include "base/error.h"
#include "base/fd.h"
#include "mover/core/qemu_socket.h"
#include "mover/core/peer_process.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#define PIECE (64 * 1024)

/* One direction, with at most one piece on its way. */
struct flow {
	int from, to;
	char data[PIECE];
	size_t first, last;
	bool ended;
};

static bool flow_read(struct flow *flow)
{
	ssize_t n = read(flow->from, flow->data, PIECE);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	flow->first = 0;
	flow->last = (size_t) n;
	flow->ended = n == 0;
	return true;
}

static bool flow_write(struct flow *flow)
{
	ssize_t n = write(flow->to, flow->data + flow->first, flow->last - flow->first);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	flow->first += (size_t) n;
	return true;
}

/* One step; false when a side has gone: half a connection is of no use to the link. */
static bool flows_step(struct flow flows[2])
{
	struct pollfd ready[2];
	for (int i = 0; i < 2; i++) {
		bool full = flows[i].first < flows[i].last;
		ready[i].fd = full ? flows[i].to : flows[i].from;
		ready[i].events = full ? POLLOUT : POLLIN;
	}
	if (poll(ready, 2, -1) < 0)
		return errno == EINTR;
	for (int i = 0; i < 2; i++) {
		if (!ready[i].revents)
			continue;
		bool ok = flows[i].first < flows[i].last ? flow_write(&flows[i])
							 : flow_read(&flows[i]);
		if (!ok || flows[i].ended)
			return false;
	}
	return true;
}

int attach_run(const char *path)
{
	static struct flow flows[2];
	g_autoptr(GError) error = NULL;
	FD_AUTO int fd = qemu_socket_connect(path, 0, &error);
	if (fd < 0 || !peer_is_root(fd, &error)) {
		fprintf(stderr, "watari mover: %s\n", error->message);
		return WATARI_EXIT_FAILED;
	}
	flows[0] = (struct flow){ .from = STDIN_FILENO, .to = fd };
	flows[1] = (struct flow){ .from = fd, .to = STDOUT_FILENO };
	while (flows_step(flows))
		continue;
	return WATARI_EXIT_OK;
}
