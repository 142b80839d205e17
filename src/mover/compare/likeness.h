/* SPDX-License-Identifier: Apache-2.0 */
/* Fingerprints: what two hosts say of the content of a file or block device, and whether that is the same.
 *
 * A fingerprint is a digest of the whole, or the tags of some of its blocks. Tags are keyed (tag.h), and the key
 * is made anew for each comparison: whoever wrote the content could not prepare for it. Of a tag 8
 * bytes are kept, so that two different blocks look alike once in 2^55 comparisons.
 *
 * Of what is too large to be read whole there may be a digest that is kept from an earlier migration (digests.h). That one
 * has no key, and both hosts have it or it does not count; it counts beside tags of today, not in their place.
 *
 * What a running VM writes to is read at its source before and after it is read at the other host: a
 * block that was the same before and after was so meanwhile, and only such blocks count.
 *
 * As JSON (docs/control.md, “fingerprint”): `size`, `filled`, `digest` (32 hex digits), `kept` (64) or `blocks`
 * and `tags` (base64 of little-endian 64-bit numbers; tag 0: that block was not read).
 *
 * Memory: 32 KiB each. Thread rules: none, plain data.
 */
#pragma once
#include "base/json.h"
#include "content/tag.h"
#include "mover/compare/digests.h"

#define FINGERPRINT_BLOCK 4096
#define FINGERPRINT_MOST 2048 /* blocks */

struct fingerprint {
	uint64_t size; /* bytes that the file or device has */
	bool whole;    /* the digest is there */
	uint8_t digest[TAG_BYTES];
	bool kept; /* the other one is there */
	uint8_t kept_digest[DIGEST_BYTES];
	unsigned count;
	uint64_t blocks[FINGERPRINT_MOST]; /* numbers of blocks */
	uint64_t tags[FINGERPRINT_MOST];   /* 0: it could not be read, or not in time */
	uint64_t filled;                   /* so many of them hold something else than zeros */
};

void fingerprint_describe(const struct fingerprint *print, JsonObject *object);
/* Everything is checked: WATARI_ERROR_INTERNAL that names the field. */
bool fingerprint_parse(struct fingerprint *print, JsonObject *object, GError **error);
/* Only the list of blocks, as in a request. */
bool fingerprint_parse_blocks(struct fingerprint *print, JsonObject *object, GError **error);

struct fingerprint_likeness {
	unsigned compared, differing; /* blocks */
	uint64_t where;               /* byte offset of the first that differs */
};
/* THERE against what was read here BEFORE and, unless it is NULL, AFTER. They are of the same blocks in
 * the same order; what one of them lacks does not count. */
struct fingerprint_likeness fingerprint_compare(const struct fingerprint *before,
						const struct fingerprint *there,
						const struct fingerprint *after);
