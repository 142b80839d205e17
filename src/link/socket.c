/* SPDX-License-Identifier: Apache-2.0 */
/* Listening, dialling, tuning; see socket.h. */
#include "link/socket.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"

#define BACKLOG 64

void socket_source_init(struct socket_source *source)
{
	*source = (struct socket_source){ .listen_fd = -1 };
}

void socket_source_clear(struct socket_source *source)
{
	fd_clear(&source->listen_fd);
	if (source->unix_path)
		unlink(source->unix_path);
	g_clear_pointer(&source->unix_path, g_free);
}

/* Look ADDRESS (NULL: any) up; the caller frees with freeaddrinfo(). */
static struct addrinfo *look_up_address(const char *address, uint16_t port, GError **error)
{
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | (address ? 0 : AI_PASSIVE),
	};
	struct addrinfo *found = NULL;
	char service[8];
	g_snprintf(service, sizeof(service), "%u", port);
	int problem = getaddrinfo(address, service, &hints, &found);
	if (problem == 0)
		return found;
	error_set(error, WATARI_ERROR_INTERNAL,
		  _("check the address, and the name service of this host"),
		  _("cannot find the address of “%s”: %s"), address ? address : "*",
		  gai_strerror(problem));
	return NULL;
}

/* The addresses of "any" come as 0.0.0.0 and ::; the second serves both kinds. */
static int listen_on(const struct addrinfo *info)
{
	FD_AUTO int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	int on = 1, off = 0;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (info->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
		return -1;
	return fd_steal(&fd);
}

static int listen_on_port(const char *address, uint16_t port, GError **error)
{
	struct addrinfo *found = look_up_address(address, port, error);
	int fd = -1;
	for (int round = 0; round < 2 && fd < 0; round++) {
		for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
			if ((at->ai_family == AF_INET6) == (round == 0))
				fd = listen_on(at);
		}
	}
	int saved_errno = errno;
	if (found)
		freeaddrinfo(found);
	errno = saved_errno;
	return fd;
}

static uint16_t port_of(int fd)
{
	struct sockaddr_storage name;
	socklen_t length = sizeof(name);
	if (getsockname(fd, (struct sockaddr *) &name, &length) < 0)
		return 0;
	if (name.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *) &name)->sin6_port);
	return ntohs(((struct sockaddr_in *) &name)->sin_port);
}

bool socket_listen_tcp(struct socket_source *source, const char *address, uint16_t first_port,
		       uint16_t last_port, uint16_t *port, GError **error)
{
	for (uint32_t at = first_port; at <= last_port; at++) {
		GError *local = NULL;
		int fd = listen_on_port(address, (uint16_t) at, &local);
		if (local) {
			g_propagate_error(error, local);
			return false;
		}
		if (fd >= 0) {
			source->listen_fd = fd;
			*port = port_of(fd);
			return true;
		}
	}
	return error_set(error, WATARI_ERROR_INTERNAL,
			 _("choose another address or another range of ports"),
			 _("cannot listen on “%s”, ports %u to %u: %s"), address ? address : "*",
			 first_port, last_port, g_strerror(errno));
}

bool socket_listen_unix(struct socket_source *source, const char *path, GError **error)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(name.sun_path))
		return error_set(error, WATARI_ERROR_INTERNAL, _("use a shorter directory"),
				 _("socket path “%s” is too long"), path);
	g_strlcpy(name.sun_path, path, sizeof(name.sun_path));
	FD_AUTO int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* fchmod before bind decides what the file is created with: never open to others. */
	if (fd < 0 || fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *) &name, sizeof(name)) < 0)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("cannot listen on socket “%s”: %s"), path, g_strerror(errno));
	source->unix_path = g_strdup(path);
	if (listen(fd, BACKLOG) < 0)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("cannot listen on socket “%s”: %s"), path, g_strerror(errno));
	source->is_unix = true;
	source->listen_fd = fd_steal(&fd);
	return true;
}

bool socket_resolve(struct socket_source *source, const char *const *addresses, uint16_t port,
		    GError **error)
{
	GError *last = NULL;
	for (; *addresses; addresses++) {
		g_clear_error(&last);
		struct addrinfo *found = look_up_address(*addresses, port, &last);
		for (struct addrinfo *at = found; at && source->count < SOCKET_ADDRESSES_MAX;
		     at = at->ai_next) {
			memcpy(&source->addresses[source->count], at->ai_addr, at->ai_addrlen);
			source->lengths[source->count++] = at->ai_addrlen;
		}
		if (found)
			freeaddrinfo(found);
	}
	if (source->count > 0) {
		g_clear_error(&last);
		return true;
	}
	if (!last)
		error_set(&last, WATARI_ERROR_INTERNAL, NULL, _("no address to connect to"));
	g_propagate_error(error, last);
	return false;
}

int socket_dial(const struct socket_source *source)
{
	const struct sockaddr_storage *address = &source->addresses[source->good];
	FD_AUTO int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	socket_tune(fd, false);
	if (connect(fd, (const struct sockaddr *) address, source->lengths[source->good]) < 0 &&
	    errno != EINPROGRESS)
		return -1;
	return fd_steal(&fd);
}

int socket_accept(const struct socket_source *source)
{
	int fd = accept4(source->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		socket_tune(fd, source->is_unix);
	return fd;
}

void socket_tune(int fd, bool is_unix)
{
	int on = 1, unsent = SOCKET_NOTSENT_BYTES;
	unsigned dead_ms = SOCKET_DEAD_MS;
	if (is_unix) {
		/* No way to ask for little unsent: so little buffer. The kernel doubles it. */
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &unsent, sizeof(unsent));
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof(dead_ms));
}

static bool get_info(int fd, struct tcp_info *info)
{
	socklen_t length = sizeof(*info);
	memset(info, 0, sizeof(*info));
	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &length) == 0;
}

int64_t socket_silence_ms(int fd)
{
	struct tcp_info info;
	return get_info(fd, &info) ? (int64_t) info.tcpi_last_ack_recv : -1;
}

int64_t socket_round_trip_us(int fd)
{
	struct tcp_info info;
	bool known =
		get_info(fd, &info) && info.tcpi_min_rtt != 0 && info.tcpi_min_rtt != UINT32_MAX;
	return known ? (int64_t) info.tcpi_min_rtt : 0;
}

void socket_count_segments(int fd, uint64_t *sent, uint64_t *again)
{
	struct tcp_info info;
	if (!get_info(fd, &info))
		return;
	*sent += info.tcpi_segs_out;
	*again += info.tcpi_total_retrans;
}

uint64_t socket_unsent_bytes(int fd)
{
	int bytes = 0;
	/* A unix socket does not know the first one; its bytes wait in the peer's queue. */
	if (ioctl(fd, SIOCOUTQNSD, &bytes) != 0 && ioctl(fd, SIOCOUTQ, &bytes) != 0)
		return 0;
	return bytes > 0 ? (uint64_t) bytes : 0;
}
