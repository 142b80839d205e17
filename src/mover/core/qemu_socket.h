/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets towards the local QEMU. At the source they are root's, in a directory that others
 * may pass but not list, and only QEMU's user may connect to the one for disks. At the destination
 * QEMU makes them, so the directory is its user's alone. No group has any right: QEMU's is often
 * one for ordinary people. Who does come is looked at (peer_process.h). */
#pragma once
#include "mover/core/setup.h"

/* Source: QEMU's user may connect to the socket at PATH. It is libvirtd that connects for memory,
 * but QEMU itself for disks. */
bool qemu_socket_admit_qemu(const struct mover_setup *settings, const char *path, GError **error);
bool qemu_socket_make_directory(const struct mover_setup *settings, GError **error);
/* Source: listen; libvirtd (or QEMU) connects. Only root may, until somebody is admitted. Returns
 * the descriptor or -1. */
int qemu_socket_listen(const char *path, GError **error);
/* Source: one connection of whom MAY lets in (SETTINGS are for it); others are sent away. -1 (with
 * no error: the listener was shut). */
typedef bool (*local_may)(int fd, const struct mover_setup *settings, GError **error);
int qemu_socket_accept(int listener, local_may may, const struct mover_setup *settings,
		       GError **error);
/* libvirtd, that is root. */
bool qemu_socket_may_libvirt(int fd, const struct mover_setup *settings, GError **error);
/* Destination: connect to the incoming QEMU, which may need WAIT_MS to listen. */
int qemu_socket_connect(const char *path, int wait_ms, GError **error);
/* Who is at the other end of a unix socket, 0: unknown. */
int qemu_socket_peer_pid(int fd);
void qemu_socket_remove(const struct mover_setup *settings, const char *socket_path,
			const char *disk_socket);
