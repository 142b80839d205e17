/* SPDX-License-Identifier: Apache-2.0 */
/* The echo services on port 7: UDP gives every datagram back as it came; TCP gives every line back
 * behind a counter. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guestd.h"

#define ECHO_PORT 7

static _Atomic int sessions_open;
static _Atomic int sessions_all;

struct server {
	int fd;
	void (*serve)(int fd);
};

static void session_main(void *arg)
{
	struct server session = *(struct server *) arg;

	free(arg);
	session.serve(session.fd);
	close(session.fd);
}

static void accept_main(void *arg)
{
	struct server *server = arg;
	int one = 1;

	for (;;) {
		struct server *session = malloc(sizeof(*session));

		if (!session)
			return;
		session->serve = server->serve;
		session->fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);
		if (session->fd < 0) {
			free(session);
			continue;
		}
		setsockopt(session->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		thread_start(session_main, session, 0);
	}
}

static int listen_on(int type, uint16_t port)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	int one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *) &any, sizeof(any)) ||
	    (type == SOCK_STREAM && listen(fd, 64))) {
		say("port %u: %s", port, strerror(errno));
		_exit(1);
	}
	return fd;
}

void tcp_serve(uint16_t port, void (*serve)(int fd))
{
	struct server *server = malloc(sizeof(*server));

	if (!server)
		return;
	server->fd = listen_on(SOCK_STREAM, port);
	server->serve = serve;
	thread_start(accept_main, server, 0);
}

/* "hello\n" comes back as "1 hello\n", the next line as "2 ...". */
static void echo_session(int fd)
{
	uint64_t lines = 0;
	char line[1024];
	FILE *in = fdopen(dup(fd), "r");

	atomic_fetch_add(&sessions_open, 1);
	atomic_fetch_add(&sessions_all, 1);
	while (in && fgets(line, sizeof(line), in)) {
		if (dprintf(fd, "%llu %s", (unsigned long long) ++lines, line) < 0)
			break;
		count(COUNT_TCP_LINES, 1);
	}
	if (in)
		fclose(in);
	atomic_fetch_sub(&sessions_open, 1);
}

static void udp_main(void *arg)
{
	int fd = listen_on(SOCK_DGRAM, ECHO_PORT);
	struct sockaddr_in from;
	char datagram[2048];

	for (;;) {
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, datagram, sizeof(datagram), 0, (struct sockaddr *) &from,
				     &len);

		if (n < 0 ||
		    sendto(fd, datagram, (size_t) n, 0, (struct sockaddr *) &from, len) < 0)
			continue;
		count(COUNT_UDP_ECHOES, 1);
	}
}

void echo_describe(struct text *json)
{
	text_add(json,
		 "{\"udp_echoes\":%llu,\"tcp_lines\":%llu,\"http_requests\":%llu,\"sessions_open\":"
		 "%d,\"sessions\":%d}",
		 (unsigned long long) counted(COUNT_UDP_ECHOES),
		 (unsigned long long) counted(COUNT_TCP_LINES),
		 (unsigned long long) counted(COUNT_HTTP_REQUESTS), atomic_load(&sessions_open),
		 atomic_load(&sessions_all));
}

void echo_start(void)
{
	tcp_serve(ECHO_PORT, echo_session);
	thread_start(udp_main, NULL, 20);
}
