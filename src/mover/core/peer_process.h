/* SPDX-License-Identifier: Apache-2.0 */
/* Who is at the other end of a local socket. Whoever gets as far as being connected has passed the
 * modes of directory and socket (qemu_socket.h), but all VMs' QEMUs may run as one user: one that was
 * broken out of must not play another VM's. Threads: any. */
#pragma once
#include "mover/core/setup.h"

/* Is it one of root's programs? */
bool peer_is_root(int fd, GError **error);
/* Connects to PATH, where the VM's QEMU (or root's tool) listens, and looks at who does; a
 * disk_dial, with the settings for DATA. */
int peer_dial_qemu(const char *path, void *settings, GError **error);
/* Is it the QEMU of this VM, by user and by libvirt's file of its process? Where libvirt has no
 * such file, the process's own arguments have to name the VM. With settings->socket_user -1 (the
 * VM is off, or libvirt gives QEMU no user of its own) it is one of root's programs. */
bool peer_is_qemu(int fd, const struct mover_setup *settings, GError **error);
