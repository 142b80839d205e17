/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of an image's blocks, kept from one migration to the next: the short tag of each block of 4
 * KiB that is not zero. The tags are keyed with a secret of this host, which lies beside the indexes
 * and is told inside links only. What is kept may be old: whoever uses it checks what he reads.
 *
 *   $WATARI_STATE_DIR or /var/lib/watari, seeds/key                      32 random bytes, mode 0600
 *                                         seeds/<SHA-256 of path>.index  the file below, mode 0600
 *
 *    0  "WATARI-S"        8  u32 version, u32 zero   16  u64 bytes of the image
 *   24  u64 device       32  u64 inode              40  u64 mtime, ns          48  u64 entries
 *   56  the entries: u32 block, u64 tag
 *
 * All integers are little-endian. A file that cannot be one is as good as none.
 *
 * Memory: 16 bytes a block, at most SEED_INDEX_MAX of them. Thread rules: one thread at a time.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define SEED_INDEX_MAX (2u << 20) /* blocks: 8 GiB of an image that are not zero */
#define SEED_KEY_BYTES 32

struct seed_entry {
	uint64_t tag;
	uint32_t block;
};

struct seed_index {
	uint64_t bytes, device, inode, mtime_ns; /* of the image when it was looked at */
	GArray *entries;                         /* struct seed_entry, by block */
};

/* The host's key; it is made if there is none. WATARI_ERROR_INTERNAL. */
bool seed_key_load(uint8_t key[SEED_KEY_BYTES], GError **error);
/* An empty one for the image at PATH as it is now. */
struct seed_index *seed_index_new(const char *path);
void seed_index_free(struct seed_index *index);
/* Is it one of the same image, unchanged? */
bool seed_index_is_same(const struct seed_index *a, const struct seed_index *b);
/* What is kept for PATH; NULL: nothing. */
struct seed_index *seed_index_load(const char *path);
/* Replaces what is kept for PATH. WATARI_ERROR_INTERNAL. */
bool seed_index_save(const struct seed_index *index, const char *path, GError **error);
