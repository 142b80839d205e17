/* SPDX-License-Identifier: Apache-2.0 */
/* Where a running conductor can be reached from another program of the same user: a unix socket
 * moves/ID.sock beside the journal, in a directory that only this user enters. One that a killed
 * conductor left behind refuses the connection, and is removed by whoever finds it. */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* STATE is the journal's directory, NULL: the default one. Makes what is missing, 0700. Caller frees;
 * NULL with errno. */
char *server_directory(const char *state);
/* The listening socket of move ID, non-blocking; -1 with errno. */
int server_listen(const char *directory, const char *id);
/* A connection to it; -1 with errno: ENOENT where there is none, ECONNREFUSED where its conductor is
 * dead (it is removed then). */
int server_dial(const char *directory, const char *id);
void server_remove(const char *directory, const char *id);
/* Remove the sockets that nobody listens to any more. */
void server_sweep(const char *directory);
