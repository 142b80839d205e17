/* SPDX-License-Identifier: Apache-2.0 */
/* Peers of local sockets, by what the kernel says of them. See peer_process.h. */
#include "mover/core/peer_process.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"
#include "mover/core/qemu_socket.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool peer_ask(int fd, struct ucred *peer, GError **error)
{
	socklen_t length = sizeof(*peer);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &length) == 0)
		return true;
	return error_set(error, WATARI_ERROR_INTERNAL, NULL,
			 _("the kernel does not say who is at the local socket"));
}

static bool peer_refuse(const struct ucred *peer, GError **error)
{
	return error_set(error, WATARI_ERROR_INTERNAL,
			 _("Find out what that process is: it is at a socket of this move."),
			 _("process %d of user %d is at the local socket, and is not the QEMU of "
			   "this VM"),
			 (int) peer->pid, (int) peer->uid);
}

/* libvirt's file of the VM's process, which only root can write; 0: it has none. */
static int read_pid_file(const struct mover_setup *settings)
{
	g_autofree char *path = g_strdup_printf("/run/libvirt/qemu/%s.pid", settings->vm_name);
	g_autofree char *text = NULL;
	if (!g_file_get_contents(path, &text, NULL, NULL))
		return 0;
	return (int) g_ascii_strtoll(text, NULL, 10);
}

/* "-uuid UUID" is among them. */
static bool arguments_name_vm(int pid, const struct mover_setup *settings)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", pid);
	g_autofree char *text = NULL;
	size_t length = 0;
	bool option = false;
	if (!g_file_get_contents(path, &text, &length, NULL))
		return false;
	for (size_t at = 0; at < length; at += strlen(text + at) + 1) {
		if (option && g_str_equal(text + at, settings->vm_uuid))
			return true;
		option = g_str_equal(text + at, "-uuid");
	}
	return false;
}

bool peer_is_root(int fd, GError **error)
{
	struct ucred peer;
	if (!peer_ask(fd, &peer, error))
		return false;
	return peer.uid == geteuid() || peer_refuse(&peer, error);
}

bool peer_is_qemu(int fd, const struct mover_setup *settings, GError **error)
{
	struct ucred peer;
	if (settings->socket_user < 0)
		return peer_is_root(fd, error);
	if (!peer_ask(fd, &peer, error))
		return false;
	if (peer.uid != (uid_t) settings->socket_user)
		return peer_refuse(&peer, error);
	int pid = read_pid_file(settings);
	bool ours = pid > 0 ? peer.pid == pid : arguments_name_vm(peer.pid, settings);
	return ours || peer_refuse(&peer, error);
}

int peer_dial_qemu(const char *path, void *settings, GError **error)
{
	FD_AUTO int fd = qemu_socket_connect(path, 0, error);
	return fd >= 0 && peer_is_qemu(fd, settings, error) ? fd_steal(&fd) : -1;
}
