/* SPDX-License-Identifier: Apache-2.0 */
/* Where connections come from: a listening socket, or addresses to dial. */
#pragma once
#include <glib.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define SOCKET_ADDRESSES_MAX 16
#define SOCKET_NOTSENT_BYTES (256 * 1024)
#define SOCKET_DEAD_MS 3000 /* how long a silent peer is believed to live */

struct socket_source {
	int listen_fd; /* -1: we dial */
	bool is_unix;
	char *unix_path; /* removed at the end */
	struct sockaddr_storage addresses[SOCKET_ADDRESSES_MAX];
	socklen_t lengths[SOCKET_ADDRESSES_MAX];
	unsigned count, good; /* good: the one that worked last */
};

void socket_source_init(struct socket_source *source);
void socket_source_clear(struct socket_source *source);
bool socket_listen_tcp(struct socket_source *source, const char *address, uint16_t first_port,
		       uint16_t last_port, uint16_t *port, GError **error);
bool socket_listen_unix(struct socket_source *source, const char *path, GError **error);
bool socket_resolve(struct socket_source *source, const char *const *addresses, uint16_t port,
		    GError **error);

/* A non-blocking socket on its way to the address number `good`; -1 with errno. */
int socket_dial(const struct socket_source *source);
/* A non-blocking socket of somebody who came, -1: nobody. */
int socket_accept(const struct socket_source *source);
/* What the lanes want of a socket: no delay, little unsent, an early end of dead ones. */
void socket_tune(int fd, bool is_unix);
/* Since when the peer's kernel has acknowledged nothing, -1: unknown. */
int64_t socket_silence_ms(int fd);
/* The smallest round trip that the kernel has seen on it; 0: it knows none, as of a unix socket (tcp(7), TCP_INFO). */
int64_t socket_round_trip_us(int fd);
/* Adds what the kernel has sent on this connection, and of that again; nothing for a unix socket. */
void socket_count_segments(int fd, uint64_t *sent, uint64_t *again);
/* What the kernel has taken and may not send yet. */
uint64_t socket_unsent_bytes(int fd);
