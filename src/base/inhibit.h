/* SPDX-License-Identifier: Apache-2.0 */
/* An inhibitor lock of logind's (org.freedesktop.login1.Manager.Inhibit): while it is held this machine is
 * neither suspended nor shut down by somebody who does not insist. A conductor on a laptop whose lid is closed
 * behind the hand-over leaves the VM down until somebody resolves there; a host that is shut down with
 * half of a VM's memory on it loses the VM.
 *
 * Where there is no logind, or it refuses, nothing is held and nothing is said: this is a courtesy of the
 * machine's, and no rule of a move rests on it. It is asked in a thread, for a bus may hang.
 */
#pragma once

struct inhibit;
/* WHY is for a person, translated. */
struct inhibit *inhibit_begin(const char *why);
/* Gives the lock back; INHIBIT may be NULL. */
void inhibit_end(struct inhibit *inhibit);
