/* SPDX-License-Identifier: Apache-2.0 */
/* One relay of the guard. See relay.h. */
#include "host/guard/relay.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* Where a local libvirt listens: the modular daemon first, as libvirt's own library has it. */
static const char *const local_sockets[] = {
	"/run/libvirt/virtqemud-sock",
	"/run/libvirt/libvirt-sock",
	"/var/run/libvirt/libvirt-sock",
};

/* What leads from a shell at the host to its libvirt: libvirt's own helper where there is one (it
 * knows where the socket is), else any netcat, as libvirt's ssh transport does. $1: a socket that
 * the user named, or nothing; $2: the user's netcat or nothing. */
static const char remote_script[] =
	"if [ -z \"$1$2\" ] && command -v virt-ssh-helper >/dev/null 2>&1; then "
	"exec virt-ssh-helper qemu:///system; fi\n"
	"s=$1\n"
	"if [ -z \"$s\" ]; then "
	"for s in /run/libvirt/virtqemud-sock /run/libvirt/libvirt-sock "
	"/var/run/libvirt/libvirt-sock; "
	"do [ -S \"$s\" ] && break; done; fi\n"
	"n=${2:-nc}\n"
	"if command -v \"$n\" >/dev/null 2>&1; then "
	/* one netcat wants to be told to end when its input ends, the other does not know -q */
	"if \"$n\" -q 2>&1 | grep 'requires an argument' >/dev/null 2>&1; "
	"then exec \"$n\" -q0 -U \"$s\"; else exec \"$n\" -U \"$s\"; fi; fi\n"
	"if command -v socat >/dev/null 2>&1; then exec socat - \"UNIX-CONNECT:$s\"; fi\n"
	"echo \"no virt-ssh-helper, nc or socat here\" >&2; exit 127\n";

static int connect_unix(const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(name.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(name.sun_path, path);
	FD_AUTO int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *) &name, sizeof(name)) < 0)
		return -1;
	fd_set_nonblocking(fd, true);
	return fd_steal(&fd);
}

static bool open_local(struct relay *relay, const char *named, GError **error)
{
	const char *const only[] = { named };
	const char *const *paths = named ? only : local_sockets;
	unsigned count = named ? 1 : G_N_ELEMENTS(local_sockets);
	int worst = ENOENT;
	const char *which = paths[0];
	for (unsigned i = 0; i < count; i++) {
		relay->to = connect_unix(paths[i]);
		if (relay->to >= 0) {
			relay->from = relay->to;
			return true;
		}
		if (errno != ENOENT) {
			worst = errno;
			which = paths[i];
		}
	}
	return error_set(error, WATARI_ERROR_INTERNAL,
			 worst == EACCES ? _("Run as root or as a member of the group libvirt.")
					 : _("Is libvirt installed and running here?"),
			 _("cannot reach libvirt at %s: %s"), which, g_strerror(worst));
}

static bool open_remote(struct relay *relay, const struct remote_shell *shell,
			const struct host_address *host, GError **error)
{
	const char *const argv[] = { "sh",
				     "-c",
				     remote_script,
				     "sh",
				     host->socket ? host->socket : "",
				     host->netcat ? host->netcat : "",
				     NULL };
	if (!remote_spawn(shell, host, REMOTE_FIRST, argv, &relay->child, error))
		return false;
	relay->to = fd_steal(&relay->child.to);
	relay->from = fd_steal(&relay->child.from);
	fd_set_nonblocking(relay->to, true);
	fd_set_nonblocking(relay->from, true);
	return true;
}

static void remove_path(struct relay *relay)
{
	if (relay->path)
		unlink(relay->path);
	if (relay->folder)
		rmdir(relay->folder);
	g_clear_pointer(&relay->path, g_free);
	g_clear_pointer(&relay->folder, g_free);
}

static bool listen_at(struct relay *relay, const char *base, int *reason)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	relay->folder = g_build_filename(base, "watari-XXXXXX", NULL);
	if (!g_mkdtemp_full(relay->folder, 0700)) {
		*reason = errno;
		g_clear_pointer(&relay->folder, g_free);
		return false;
	}
	relay->path = g_build_filename(relay->folder, "libvirt", NULL);
	if (g_strlcpy(name.sun_path, relay->path, sizeof(name.sun_path)) >= sizeof(name.sun_path)) {
		*reason = ENAMETOOLONG;
		return false;
	}
	relay->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (relay->listener < 0 ||
	    bind(relay->listener, (struct sockaddr *) &name, sizeof(name)) < 0 ||
	    listen(relay->listener, 1) < 0) {
		*reason = errno;
		return false;
	}
	return true;
}

static bool open_listener(struct relay *relay, GError **error)
{
	int reason = 0;
	const char *bases[] = { g_get_user_runtime_dir(), g_get_tmp_dir(), "/tmp" };
	for (unsigned i = 0; i < G_N_ELEMENTS(bases); i++) {
		if (listen_at(relay, bases[i], &reason))
			return true;
		fd_clear(&relay->listener);
		remove_path(relay);
	}
	return error_set(error, WATARI_ERROR_INTERNAL, NULL, _("cannot make a socket in %s: %s"),
			 g_get_tmp_dir(), g_strerror(reason));
}

bool relay_open(struct relay *relay, const struct remote_shell *shell,
		const struct host_address *host, GError **error)
{
	relay->listener = relay->client = relay->to = relay->from = -1;
	relay->child = (struct remote_child){
		.pid = -1, .to = -1, .from = -1, .errors = -1, .begin.done = true
	};
	if (host->shell ? !open_remote(relay, shell, host, error)
			: !open_local(relay, host->socket, error))
		return false;
	return open_listener(relay, error);
}

char *relay_uri(const struct relay *relay)
{
	g_autofree char *escaped = g_uri_escape_string(relay->path, "/", FALSE);
	return g_strdup_printf("qemu+unix:///system?socket=%s", escaped);
}

void relay_accept(struct relay *relay)
{
	if (relay->listener < 0)
		return;
	FD_AUTO int fd = accept4(relay->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	/* The directory keeps others out already; nobody but this very process has business here.
	 */
	struct ucred peer = { 0 };
	socklen_t length = sizeof(peer);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 || peer.pid != getpid())
		return;
	relay->client = fd_steal(&fd);
	fd_clear(&relay->listener);
	remove_path(relay);
}

/* True when the end has come. */
static bool take_in(struct flow *flow, int fd)
{
	for (;;) {
		ssize_t got = flow_read(flow, fd);
		if (got == 0)
			return true;
		if (got < 0)
			return errno != EAGAIN && errno != ENOBUFS;
	}
}

void relay_read(struct relay *relay)
{
	if (relay->child.errors >= 0)
		remote_collect(&relay->child);
	if (relay->from >= 0 && !relay->child.begin.done)
		relay->host_gone = begin_read(&relay->child.begin, relay->from) == BEGIN_BROKEN;
	if (relay->from >= 0 && !relay->host_gone && relay->child.begin.done)
		relay->host_gone = take_in(&relay->answers, relay->from);
	if (relay->client >= 0 && !relay->client_gone)
		relay->client_gone = take_in(&relay->calls, relay->client);
}

void relay_write(struct relay *relay)
{
	if (relay->client >= 0 && !flow_write(&relay->answers, relay->client))
		relay->client_gone = true;
	if (relay->to >= 0 && !relay->host_gone && !flow_write(&relay->calls, relay->to)) {
		/* the host's end is broken, but what it said before that still counts */
		if (relay->child.begin.done)
			take_in(&relay->answers, relay->from);
		relay->host_gone = true;
	}
}

void relay_close_client(struct relay *relay)
{
	fd_clear(&relay->listener);
	remove_path(relay);
	if (relay->client >= 0)
		shutdown(relay->client, SHUT_RDWR);
	fd_clear(&relay->client);
}

void relay_close_host(struct relay *relay, bool now)
{
	if (relay->from != relay->to)
		fd_clear(&relay->from);
	relay->from = -1;
	fd_clear(&relay->to);
	if (now && relay->child.pid > 0)
		kill(-relay->child.pid, SIGTERM);
}

void relay_free(struct relay *relay)
{
	relay_close_client(relay);
	relay_close_host(relay, false);
	remote_end(&relay->child, 500);
	flow_clear(&relay->calls);
	flow_clear(&relay->answers);
	g_free(relay->reason);
	*relay = (struct relay){
		.listener = -1, .client = -1, .to = -1, .from = -1, .child.pid = -1
	};
}
