/* SPDX-License-Identifier: Apache-2.0 */
/* `watari mover --helper USER TIE PROGRAM [ARGUMENT...]`: becomes one of QEMU's tools, with as little as it needs.
 *
 * They parse what guests wrote (a qcow2 image is the guest's own data as soon as it was a raw one), so they are confined like
 * movers: no new privileges, no core, the movers' filter of system calls.
 *
 *   USER  number of the user that it becomes, that of QEMU, without any capability; or -1: it stays root, for
 *         what only root may reach, and keeps of root that it may open other users' files.
 *   TIE   "tied": it is killed when the process that started it ends; "free": it ends by itself, as a
 *         qemu-nbd does with its only client. (A thread that starts one and ends would kill it.)
 */
#pragma once

/* ARGV from PROGRAM on, ended by NULL. Returns only when it could not become that. */
int helper_run(const char *user, const char *tie, char **argv);
/* Disks' readers start their qemu-nbd by it: as USER where that may open the image, as root otherwise. Once, before
 * there are threads that read disks. */
void helper_for_readers(int user);
