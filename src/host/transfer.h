/* SPDX-License-Identifier: Apache-2.0 */
/* One file, or one directory with all in it, from a host to another, through us and both hosts' shells. For what is small
 * and must be there before anything moves: images that are only read, variables of the firmware, keys of a TPM. Disks go
 * over the link. Nothing that exists is overwritten. Errors: WATARI_ERROR_INTERNAL. Blocks; in any thread. */
#pragma once
#include "base/error.h"
#include "host/remote/remote.h"

#include <stdint.h>

struct transfer {
	/* set by the caller */
	const struct remote_shell *shell;
	const struct host_address *source, *destination;
	const char *path, *path_there;
	bool directory;
	bool changes;  /* meanwhile: what is there afterwards need not be what was here */
	int uid, gid;  /* whose it is there; negative: root's, or of a directory as here by name */
	uint64_t rate; /* bytes a second; 0: no cap */
	int stop;      /* atomic: give it up */
	/* set here */
	char *identity; /* as that of image_create(); caller frees */
	uint64_t bytes; /* that went over */
	struct remote_child from, to;
};
/* Make it there, empty; then `identity` is known, and transfer_finish() must follow. */
bool transfer_begin(struct transfer *transfer, GError **error);
/* Copy what is in it. Then both are the same, by their digests; after a failure it is removed there. */
bool transfer_finish(struct transfer *transfer, GError **error);

/* SHA-256 over the content of a file, or over names and contents of all files of a directory; "" if there is nothing at
 * PATH. Caller frees; NULL with *error if it cannot be read. */
char *transfer_digest(const struct remote_shell *shell, const struct host_address *host,
		      const char *path, GError **error);
