/* SPDX-License-Identifier: Apache-2.0 */
/* Files are read and digested in pieces, of which those of zeros do not count: so a hole is as good as zeros that were
 * written. */
#pragma once
#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define PIECE_BYTES (1 << 20)

/* The first piece from AT on that is no hole; the SIZE of the file: there is none. */
static inline uint64_t piece_find(int fd, uint64_t at, uint64_t size)
{
	off_t data = lseek(fd, (off_t) at, SEEK_DATA);
	if (data < 0)
		return errno == ENXIO ? size : at;
	return MAX(at, (uint64_t) data / PIECE_BYTES * PIECE_BYTES);
}

/* Does it hold something else than zeros? */
static inline bool piece_is_filled(const uint8_t *data, size_t length)
{
	return length > 0 && (data[0] || memcmp(data, data + 1, length - 1) != 0);
}
