/* SPDX-License-Identifier: Apache-2.0 */
/* The one TCP session: line N goes out, "N line" must come back. A counter that differs means loss
 * or duplication. */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "prober.h"

#define CONNECT_NS 30000000000ull
#define SLICE_MS 100

static void session_fail(const char *before, const char *detail)
{
	pthread_mutex_lock(&prober.lock);
	snprintf(prober.results.session_error, sizeof(prober.results.session_error), "%s%s", before,
		 detail);
	pthread_mutex_unlock(&prober.lock);
}

/* Reads up to the end of a line. NULL when it is there, else why it never will be. */
static const char *session_read(int fd, char *line, size_t size)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	size_t len = 0;

	line[0] = '\0';
	while (!strchr(line, '\n')) {
		ssize_t n;

		if (poll(&poll_fd, 1, SLICE_MS) <= 0) {
			if (atomic_load(&prober.stop))
				return "no answer by the end";
			continue;
		}
		n = recv(fd, line + len, size - 1 - len, 0);
		if (n == 0)
			return "closed by the guest";
		if (n < 0)
			return strerror(errno);
		len += (size_t) n;
		line[len] = '\0';
		if (len == size - 1)
			return "an answer that never ends";
	}
	return NULL;
}

static void session_note(uint64_t begun)
{
	struct results *results = &prober.results;
	uint64_t took = now_ns() - begun;

	pthread_mutex_lock(&prober.lock);
	results->session_lines++;
	results->session_waiting_since_ns = 0;
	if (took > results->session_stall_ns) {
		results->session_stall_ns = took;
		results->session_stall_at_ns = begun;
	}
	pthread_mutex_unlock(&prober.lock);
}

static bool session_turn(int fd, uint64_t number)
{
	char line[128], want[128];
	uint64_t begun = now_ns();
	const char *wrong;

	pthread_mutex_lock(&prober.lock);
	prober.results.session_waiting_since_ns = begun;
	pthread_mutex_unlock(&prober.lock);
	snprintf(want, sizeof(want), "%llu line-%llu\n", (unsigned long long) number,
		 (unsigned long long) number);
	if (dprintf(fd, "line-%llu\n", (unsigned long long) number) < 0) {
		session_fail("", strerror(errno));
		return false;
	}
	wrong = session_read(fd, line, sizeof(line));
	if (!wrong && strcmp(line, want))
		wrong = "the counter differs: a line was lost or came twice";
	if (wrong) {
		session_fail("", wrong);
		return false;
	}
	session_note(begun);
	return true;
}

void *session_main(void *arg)
{
	int fd = tcp_connect(prober.echo_port, CONNECT_NS);
	int one = 1;

	if (fd < 0) {
		session_fail("never came up: ", strerror(errno));
		return NULL;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (uint64_t number = 1; !atomic_load(&prober.stop_sending); number++) {
		uint64_t begun = now_ns();

		if (!session_turn(fd, number))
			break;
		pthread_mutex_lock(&prober.lock);
		prober.results.session_up = true;
		pthread_mutex_unlock(&prober.lock);
		sleep_until_ns(begun + 1000000000u / prober.session_rate);
	}
	close(fd);
	return NULL;
}
