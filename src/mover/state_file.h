/* SPDX-License-Identifier: Apache-2.0 */
/* The small file that each mover leaves on its host while it works, for `watari resolve`:
 * /run/watari/<id>-<role>.json {id, role, vm {name, uuid}, pid, born, phase, socket_dir}. It is removed
 * at an orderly end; what a killed mover left is removed by `watari mover --sweep ID`. */
#pragma once
#include "mover/core/transfer.h"

/* Write (atomically: a reader never sees half a file). When it fails there is no file any more, so that
 * nobody ends this mover for what it was before; a mover that cannot even begin with one must not begin.
 * WATARI_ERROR_INTERNAL. */
bool state_file_write(const struct mover_setup *settings, enum transfer_phase phase,
		      GError **error);
void state_file_remove(const struct mover_setup *settings);
/* What becomes of a mover that lives on when its move is over. One that still carries the pages of a
 * post-copy is left alone by both. */
enum state_file_manner {
	STATE_END,  /* it is asked to end (SIGTERM), and killed when it does not */
	STATE_KILL, /* it is killed at once: it hangs, and its VM is stopped meanwhile */
};
/* ID NULL: remove the files of all movers that no longer live, with their socket directories. Else
 * those of ID: a mover that lives on is ended first. Prints one JSON line for each to stdout. Returns
 * an exit code. */
int state_file_sweep(const char *id, enum state_file_manner manner);
/* Prints the file of each mover of the VM with that UUID that lives on this host, one JSON line each. Returns an exit
 * code. */
int state_file_print_living(const char *vm_uuid);
