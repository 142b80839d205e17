/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's tools at a host in QEMU's place, for a VM that is off: its storage daemon, which has images
 * behind an NBD socket, and qemu-img, which copies one to such a socket. Both end when we do: they
 * watch their stdin. HELPER are the words that confine them, put before their own (mover/helper.h). Errors:
 * WATARI_ERROR_INTERNAL. */
#pragma once
#include "base/error.h"
#include "host/remote/remote.h"

#include <stdint.h>

struct storage_image {
	char *export, *path, *format;
	bool block;     /* a block device */
	uint64_t slice; /* the disk is its first so many bytes; 0: all of it */
};
/* An empty list that frees its images and their strings. */
GPtrArray *storage_images_new(void);

struct storage;
/* Serve IMAGES (of struct storage_image), to be written to, at SOCKET, whose directory must be there.
 * Returns when they are there; blocks. */
struct storage *storage_serve(const struct remote_shell *shell, const struct host_address *host,
			      const char *const *helper, const char *socket,
			      const GPtrArray *images, GError **error);
/* Ends it; what was flushed is safe. NULL is nothing. Blocks. */
void storage_end(struct storage *storage);

struct storage_copy;
struct storage_source {
	const char *path, *format;
	const char *socket, *export; /* where to */
	bool fresh;                  /* that reads as zeros */
	const char *backing,
		*backing_format; /* not of interest is what comes from it; NULL: all is */
};
/* Starts to copy, holes left out, flushed at the end. */
struct storage_copy *storage_copy_start(const struct remote_shell *shell,
					const struct host_address *host, const char *const *helper,
					const struct storage_source *source, GError **error);
/* What it says of itself, so far: never blocks. False: it is at its end. *PART: 0 to 1. */
bool storage_copy_look(struct storage_copy *copy, double *part);
/* Ends it, if it has not ended; true if it had, and all is copied. Blocks shortly. */
bool storage_copy_end(struct storage_copy *copy, GError **error);
