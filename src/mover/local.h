/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets towards the local QEMU: a directory that only root and QEMU's user enter. */
#pragma once
#include "mover/settings.h"

/* May the local QEMU's user enter: the directory, and the socket at PATH (NULL: none) in it. At the
 * source it is libvirtd that connects for memory, but QEMU itself for disks. */
bool local_admit_qemu(const struct mover_settings *settings, const char *path, GError **error);
bool local_make_directory(const struct mover_settings *settings, GError **error);
/* Source: listen; libvirtd (or QEMU) connects. Returns the descriptor or -1. */
int local_listen(const char *path, GError **error);
/* Source: one connection, or -1 (with no error: the listener was shut). */
int local_accept(int listener, GError **error);
/* Destination: connect to the incoming QEMU, which may need WAIT_MS to listen. */
int local_connect(const char *path, int wait_ms, GError **error);
/* Who is at the other end of a unix socket, 0: unknown. */
int local_peer_pid(int fd);
void local_remove(const struct mover_settings *settings, const char *socket_path,
		  const char *disk_socket);
