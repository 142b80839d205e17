/* SPDX-License-Identifier: Apache-2.0 */
/* `watari mover --saved ACTION PATH UUID`: a VM's state in a file of a directory that both hosts see, and
 * beside it PATH.digest {format, vm, size, sha256}, which only its owner may read. One JSON line on
 * stdout: {size, sha256, identity}, or {reason}. The identity tells, without reading it all again, whether it is still
 * the same file with nothing written to it (device, inode, size, both times).
 *
 *   digest  read the whole file and write the digest beside it (the source)
 *   check   read the whole file and compare (whoever is about to restore from it)
 *   look    only the identity (right before it is restored from)
 *   remove  both files; gone is good
 */
#pragma once

/* Returns an exit code. */
int saved_state_run(const char *action, const char *path, const char *uuid);
