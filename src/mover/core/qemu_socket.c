/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the sockets towards QEMU, and looks at who connects. */
#include "mover/core/qemu_socket.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"
#include "mover/core/peer_process.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define RETRY_US 2000 /* QEMU's socket appears within milliseconds of the first byte */

static bool failed(GError **error, const char *what, const char *path)
{
	int code = errno;
	return error_set(error, WATARI_ERROR_INTERNAL,
			 code == EACCES || code == EPERM ? _("Run the mover as root.") : NULL,
			 /* TRANSLATORS: what failed ("cannot listen on"), path, reason */
			 _("%s %s: %s"), what, path, g_strerror(code));
}

bool qemu_socket_admit_qemu(const struct mover_setup *settings, const char *path, GError **error)
{
	if (settings->socket_user <= 0)
		return true;
	if (chmod(settings->socket_dir, 0711) != 0)
		return failed(error, _("cannot open the directory"), settings->socket_dir);
	if (lchown(path, (uid_t) settings->socket_user, 0) != 0)
		return failed(error, _("cannot hand over the socket"), path);
	return true;
}

bool qemu_socket_make_directory(const struct mover_setup *settings, GError **error)
{
	const char *dir = settings->socket_dir;
	g_autofree char *parent = g_path_get_dirname(dir);
	bool given = settings->role == MOVER_DESTINATION && settings->socket_user > 0;
	int made = -1;
	/* Another mover that ends may take the parent away in between. */
	for (int i = 0; made != 0 && i < 10; i++) {
		made = g_mkdir_with_parents(parent, 0755) == 0 ? mkdir(dir, 0700) : -1;
		if (made != 0 && errno != ENOENT)
			break;
	}
	if (made != 0)
		return failed(error, _("cannot make the directory"), dir);
	if (given && lchown(dir, (uid_t) settings->socket_user, 0) != 0)
		return failed(error, _("cannot hand over the directory"), dir);
	return true;
}

static bool fill_address(struct sockaddr_un *address, const char *path)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	return g_strlcpy(address->sun_path, path, sizeof(address->sun_path)) <
	       sizeof(address->sun_path);
}

int qemu_socket_listen(const char *path, GError **error)
{
	struct sockaddr_un address;
	FD_AUTO int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	errno = ENAMETOOLONG;
	if (fd < 0 || !fill_address(&address, path) ||
	    /* before bind it decides what the file is made with: never open to others */
	    fchmod(fd, 0600) != 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) != 0 ||
	    listen(fd, 16) != 0) {
		failed(error, _("cannot listen on"), path);
		return -1;
	}
	return fd_steal(&fd);
}

bool qemu_socket_may_libvirt(int fd, const struct mover_setup *settings, GError **error)
{
	return peer_is_root(fd, error);
}

int qemu_socket_accept(int listener, local_may may, const struct mover_setup *settings,
		       GError **error)
{
	for (;;) {
		g_autoptr(GError) reason = NULL;
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0 && errno == EINTR)
			continue;
		if (fd < 0 && errno != EINVAL) /* EINVAL: shut on purpose */
			failed(error, _("cannot accept on"), _("the local socket"));
		if (fd < 0 || may(fd, settings, &reason))
			return fd;
		g_debug("%s", reason->message);
		close(fd);
	}
}

int qemu_socket_connect(const char *path, int wait_ms, GError **error)
{
	struct sockaddr_un address;
	int64_t until = clock_now_ms() + wait_ms;
	FD_AUTO int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	errno = ENAMETOOLONG;
	if (fd < 0 || !fill_address(&address, path)) {
		failed(error, _("cannot connect to"), path);
		return -1;
	}
	while (connect(fd, (struct sockaddr *) &address, sizeof(address)) != 0) {
		bool not_yet = errno == ENOENT || errno == ECONNREFUSED || errno == EINTR;
		if (!not_yet || clock_now_ms() >= until) {
			failed(error, _("cannot connect to QEMU at"), path);
			return -1;
		}
		g_usleep(RETRY_US);
	}
	return fd_steal(&fd);
}

int qemu_socket_peer_pid(int fd)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
		return 0;
	return peer.pid;
}

void qemu_socket_remove(const struct mover_setup *settings, const char *socket_path,
			const char *disk_socket)
{
	if (socket_path)
		unlink(socket_path);
	if (disk_socket)
		unlink(disk_socket);
	g_autofree char *link_path = g_build_filename(settings->socket_dir, "link", NULL);
	unlink(link_path);
	rmdir(settings->socket_dir);
	/* The last one takes our own directory with it; never one of libvirt's. */
	g_autofree char *parent = g_path_get_dirname(settings->socket_dir);
	if (g_str_has_suffix(parent, "/watari"))
		rmdir(parent);
}
