/* SPDX-License-Identifier: Apache-2.0 */
/* Keyed tags of bytes: equal tags stand for equal bytes, even against a guest that chooses them.
 *
 * GMAC (AES-128-GCM over additional data only) with a fixed nonce and a key that never leaves the
 * two movers. With the tags kept secret too this is a keyed universal hash (GHASH): two different
 * inputs of n 16-byte blocks collide with probability at most (n + 1) / 2^128, which is 2^-113 for
 * a frame of 256 KiB. It must never be shown to an adversary: tags travel inside the link only.
 *
 * Thread rules: one context belongs to one thread at a time.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAG_BYTES 16
#define TAG_KEY_BYTES 32

struct tag_context;

/* KEY is the migration's secret; the tag key is derived from it and LABEL (SHA-256), so that it is
 * never the key of anything else. NULL only when the crypto library fails. */
struct tag_context *tag_context_new(const uint8_t key[TAG_KEY_BYTES], const char *label);
void tag_context_free(struct tag_context *context);
void tag_compute(struct tag_context *context, const void *data, size_t length,
		 uint8_t tag[TAG_BYTES]);
/* In constant time. */
bool tag_equal(const uint8_t a[TAG_BYTES], const uint8_t b[TAG_BYTES]);

/* The tag of a whole stream of frames in order: fold each frame's tag in. CHAIN starts as zeros. */
void tag_fold(struct tag_context *context, uint8_t chain[TAG_BYTES], const uint8_t tag[TAG_BYTES]);

#define TAG_HEX_BYTES (2 * TAG_BYTES + 1)
/* As text, for reports. */
void tag_hex(const uint8_t tag[TAG_BYTES], char text[TAG_HEX_BYTES]);
