/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP requests, a few a second, one after the other, each on a connection of its own and timed
 * from connect to last byte. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "prober.h"

#define TIMEOUT_NS 10000000000ull

int tcp_connect(uint32_t port, uint64_t timeout_ns)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_addr = prober.address,
				  .sin_port = htons((uint16_t) port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof(errno);
	int error = 0;

	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *) &to, sizeof(to)) && errno != EINPROGRESS)
		error = errno;
	else if (poll(&poll_fd, 1, (int) (timeout_ns / 1000000)) <= 0)
		error = ETIMEDOUT;
	else
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error) {
		close(fd);
		errno = error;
		return -1;
	}
	fcntl(fd, F_SETFL, 0);
	return fd;
}

/* One request; NULL, or what went wrong. */
static const char *http_get(void)
{
	struct timeval timeout = { .tv_sec = (time_t) (TIMEOUT_NS / 1000000000u) };
	char buffer[4096], head[64] = "";
	size_t got = 0;
	ssize_t n;
	int fd = tcp_connect(prober.http_port, TIMEOUT_NS);

	if (fd < 0)
		return strerror(errno);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	dprintf(fd, "GET %s HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n", prober.path);
	while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0) {
		for (ssize_t i = 0; i < n && got + 1 < sizeof(head); i++)
			head[got++] = buffer[i];
	}
	close(fd);
	if (n < 0)
		return errno == EAGAIN ? "no whole answer in time" : strerror(errno);
	return strncmp(head, "HTTP/1.1 200", 12) ? "not answered with 200" : NULL;
}

static void http_note(uint64_t begun, const char *error)
{
	struct results *results = &prober.results;
	uint64_t took = now_ns() - begun;

	pthread_mutex_lock(&prober.lock);
	if (took > results->http_slowest_ns) {
		results->http_slowest_ns = took;
		results->http_slowest_at_ns = begun;
	}
	results->http_ok += !error;
	results->http_failed += error != NULL;
	if (error && !results->http_error[0])
		snprintf(results->http_error, sizeof(results->http_error), "%s", error);
	pthread_mutex_unlock(&prober.lock);
}

void *http_main(void *arg)
{
	while (!atomic_load(&prober.stop_sending)) {
		uint64_t begun = now_ns();

		http_note(begun, http_get());
		sleep_until_ns(begun + 1000000000u / prober.http_rate);
	}
	return NULL;
}
