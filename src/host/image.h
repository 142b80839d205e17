/* SPDX-License-Identifier: Apache-2.0 */
/* Disk images at a host: what they are, what is at a path, new ones, and their end. All of it is
 * asked by short commands over the shell (qemu-img, stat), so it works for every host we reach.
 * Errors: WATARI_ERROR_INTERNAL with a next step where there is one. Blocks. */
#pragma once
#include "base/error.h"
#include "host/remote/remote.h"

#include <stdint.h>

/* How a qcow2 is made; all zero for other formats. Plain, so that it can be copied. */
struct image_traits {
	uint64_t cluster;       /* bytes */
	char compat[8];         /* "0.10", "1.1" */
	char compression[16];   /* "zlib", "zstd"; "": not told */
	unsigned refcount_bits; /* 0: not told */
	bool lazy_refcounts, extended_l2;
};

/* One image of a chain, as qemu-img sees it. */
struct image {
	char *path, *format;
	uint64_t size;      /* that the guest sees */
	uint64_t allocated; /* on the disk; 0 for block devices */
	struct image_traits traits;
	char *backing, *backing_format; /* what it stands on, as its header says; NULL: none */
	bool encrypted, corrupt;
	bool snapshots;  /* inside the image */
	char *bitmaps;   /* names of those inside it, for a person; NULL: none */
	char *data_file; /* another file that holds the content; NULL: itself */
};

/* One image from what “qemu-img info --output=json” says of it; free with image_free. */
struct image *image_parse(const char *json, GError **error);
void image_free(gpointer image);

/* What somebody who was told says of files: the format of paths[i] is formats[i]. */
struct image_told {
	char *const *paths, *const *formats; /* equally long, NULL-terminated */
};
/* The images of a chain, the top one first, each opened in the format that it has: of the top one
 * FORMAT, of the others what the header above names, or else TOLD (NULL: nobody). Never what
 * qemu-img makes of the content: whatever a guest wrote into a raw image would decide which file of
 * the host is read next. Where none is named: WATARI_ERROR_REFUSED. Free with g_ptr_array_unref. */
GPtrArray *image_read_chain(const struct remote_shell *shell, const struct host_address *host,
			    const char *path, const char *format, const struct image_told *told,
			    GError **error);

/* What is at PATH, and around it. */
struct image_place {
	bool directory;      /* the one it would lie in is there */
	bool exists, block;  /* anything is at PATH; it is a block device */
	bool busy;           /* a block device that something uses: mounted, or part of another */
	uint64_t size;       /* of the file or block device */
	uint64_t room;       /* bytes free for files beside it */
	char filesystem[40]; /* so that two places can be told to share their room */
	char identity[300];  /* of a block device, the same at each host that sees it; "": none */
};
bool image_look(const struct remote_shell *shell, const struct host_address *host, const char *path,
		struct image_place *place, GError **error);

/* Can a user open the file to write to it? *usable is true where that cannot be tried. */
bool image_try_open(const struct remote_shell *shell, const struct host_address *host,
		    const char *path, int uid, int gid, bool *usable, GError **error);

/* Give the file another name, where nothing is. */
bool image_set_aside(const struct remote_shell *shell, const struct host_address *host,
		     const char *path, const char *kept, GError **error);
/* Undo that, and the file IDENTITY (NULL: whatever is there) that took its place. Nothing, where nothing was set aside. */
bool image_put_back(const struct remote_shell *shell, const struct host_address *host,
		    const char *path, const char *identity, const char *kept, GError **error);

/* The name under which an image of PATH is made by whoever has TOKEN. Caller frees. */
char *image_own_name(const char *path, const char *token);
/* A passphrase; never in an argument or a file. */
struct image_key {
	unsigned char *bytes; /* wiped by image_key_clear() */
	size_t length;
};
void image_key_clear(struct image_key *key);

struct image_plan {
	const char *token;         /* letters and digits that nobody else has */
	const char *path, *format; /* "raw" or "qcow2" */
	uint64_t size;
	const struct image_key *key; /* it is encrypted with that (LUKS); NULL: not */
	bool allocate; /* all its room is taken at once, as far as the file system can */
	struct image_traits traits;
	const char *backing, *backing_format; /* NULL: none */
	int uid, gid;                         /* negative: as they come */
};
/* A new image; what exists is never overwritten. It has its own name beside PATH, too, by which it is found
 * if the answer is lost, until image_settle() takes that away. The return value says later whether it is
 * still that file. Caller frees. */
char *image_create(const struct remote_shell *shell, const struct host_address *host,
		   const struct image_plan *plan, GError **error);
/* The identity is written down: the own name is not needed any more. */
bool image_settle(const struct remote_shell *shell, const struct host_address *host,
		  const char *path, const char *token, GError **error);
/* Remove what was to be made at PATH, and perhaps was: only what its own name by TOKEN proves to be ours; with
 * TOKEN NULL only what is empty. Gone is good, and so is what is somebody else's. */
bool image_remove_intended(const struct remote_shell *shell, const struct host_address *host,
			   const char *path, const char *token, GError **error);
/* Remove the file if it is (IDENTITY NULL: whatever is) what image_create made; a directory only by its
 * IDENTITY. Gone is good. */
bool image_remove(const struct remote_shell *shell, const struct host_address *host,
		  const char *path, const char *identity, GError **error);
