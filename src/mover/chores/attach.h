/* SPDX-License-Identifier: Apache-2.0 */
/* `watari mover --attach PATH`: our stdin and stdout are one connection of the link. The conductor
 * splices two of these together where only ssh passes the firewall. */
#pragma once

/* Returns an exit code. */
int attach_run(const char *path);
