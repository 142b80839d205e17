/* SPDX-License-Identifier: Apache-2.0 */
/* The mover: one process per host per migration, started by the conductor and gone afterwards.
 *
 *   watari mover                 talks over stdin and stdout (docs/control.md)
 *   watari mover --attach PATH   one connection of the link through ssh
 *   watari mover --sweep [ID]    removes what killed movers left
 *   watari mover --kill ID       the same, and ends those that live without asking them
 *   watari mover --saved …       the digest of a saved state (saved_state.h)
 *
 * Memory: base (about 12 MiB) + window in each direction that carries data (64 MiB at most by
 * default, reached only on links where bandwidth x round trip asks for it) + 260 bytes a RAM block.
 */
#pragma once

#define MOVER_PROTOCOL 1

/* Returns an exit code (base/error.h). */
int mover_main(int argc, char **argv);
