/* SPDX-License-Identifier: Apache-2.0 */
/* An NBD server for one client, which chooses one of several exports, on a connected socket: what
 * QEMU's mirror job writes to, and what qemu-nbd's relatives read from. It knows NBD; what a request means is its user's
 * affair.
 *
 * nbd_serve() runs in the caller's thread from the first byte to the last. For each request it calls
 * HANDLE, on that thread; the request is answered by nbd_done(), at once or later, in any order and
 * from any thread, exactly once. While the payloads in hand exceed BYTES_MAX, or REQUESTS_MAX are
 * not answered, nothing more is read: that is how a slow path reaches the guest. nbd_serve() returns
 * when the client has left and all requests are answered.
 *
 * The client may be a QEMU that its guest has taken over: whatever it sends is refused or bounded.
 *
 * Memory: BYTES_MAX, or one request of NBD_BLOCK_MAX if that is more; 200 bytes a request.
 * Errors: WATARI_ERROR_INTERNAL.
 */
#pragma once
#include "nbd/nbd_wire.h"

#include <glib.h>

struct nbd_request {
	unsigned export;          /* which one */
	enum nbd_command command; /* never NBD_DISCONNECT */
	uint64_t offset, length;  /* inside the export; FLUSH: 0 */
	bool fua;                 /* done means: on stable storage */
	bool no_hole;             /* WRITE_ZEROES: the room must be there afterwards */
	uint8_t *payload;         /* WRITE: its bytes; READ: to be filled; else NULL */
};

struct nbd_server {
	const struct nbd_export *exports; /* must outlive the call */
	unsigned export_count;
	uint64_t bytes_max;
	unsigned requests_max;
	void (*handle)(struct nbd_request *request, void *data);
	void *data;
};

/* True when the client took its leave as it should; false when it vanished, spoke no NBD, or FD was
 * shut down here. FD is blocking, and not closed. */
bool nbd_serve(int fd, const struct nbd_server *server, GError **error);

/* REASON: an errno, 0: it is done. Frees REQUEST. May block while the client does not read. */
void nbd_done(struct nbd_request *request, int reason);
