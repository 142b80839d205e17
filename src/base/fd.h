/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptors: owned by a variable, read and written whole. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

/* g_autofd-like: `FD_AUTO int fd = open(...)` closes at the end of scope. */
void fd_clear(int *fd);
#define FD_AUTO __attribute__((cleanup(fd_clear)))

/* Take the descriptor out of its variable. */
static inline int fd_steal(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

/* Write all of it to a blocking descriptor; false with errno set. Never SIGPIPE on sockets. */
bool fd_write_all(int fd, const void *data, size_t length);
/* Read exactly LENGTH bytes; false with errno set (0 = end of file). */
bool fd_read_all(int fd, void *data, size_t length);
/* Bytes that wait to be read from a socket; 0 also where that cannot be said. */
size_t fd_unread(int fd);
bool fd_set_nonblocking(int fd, bool on);
