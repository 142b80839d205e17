/* SPDX-License-Identifier: Apache-2.0 */
/* Whose the VM's images are, at the source.
 *
 * When the VM stops, its QEMU gives the write access to its images away, and after a failure it opens them
 * again; one of 7.2 that may not ends with an assertion, and the VM is lost. But libvirt at the destination may
 * have given a shared image to its own QEMU's user by then (dynamic_ownership of qemu.conf, where the hosts'
 * QEMUs run as different users), or to root when it ended its side of a failed move.
 *
 * So the mover notes the owner and mode of each regular file that QEMU has open for writing before the
 * destination is prepared, looks again when QEMU connects, and lets both in: the source's user as owner, the
 * destination's by its group. What was is put back before QEMU hears of a failure; after the hand-over the image
 * is as the destination wanted it, also where libvirt at the source gives it to root when the VM has left it (which it
 * does on file systems that it does not know as shared).
 *
 * Shared file systems that map users (NFS with all_squash) show no change, and nothing is done.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct owners;
/* Note the files of the QEMU with this PID. Nothing is changed. NULL and *error: that was not possible. */
struct owners *owners_new(int pid, GError **error);
/* A move begins, or a rehearsal of one; until then nothing below does anything. A file that QEMU's user could not open
 * again even now is given to it. False and *error: that was not possible. */
bool owners_begin(struct owners *owners, GError **error);
void owners_free(struct owners *owners);
/* The destination has been prepared. False and *error: a file was taken away, and this side cannot let
 * both in. */
bool owners_share(struct owners *owners, GError **error);
/* As they were; what cannot be put back is logged. Any thread; NULL does nothing, as below. */
void owners_give_back(struct owners *owners);
/* As the destination wanted them. While the source's QEMU is there, it may still be asked to go on, and libvirt at the
 * destination may have taken the files again when it ended its side: they stay shared, or are so again. */
void owners_hand_over(struct owners *owners);
