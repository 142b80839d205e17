/* SPDX-License-Identifier: Apache-2.0 */
/* GMAC as a keyed tag, by OpenSSL. */
#include "content/tag.h"

#include <glib.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#define PIECE_MAX (1 << 30) /* EVP takes an int */

struct tag_context {
	EVP_CIPHER_CTX *cipher;
};

static bool derive_key(const uint8_t *key, const char *label, uint8_t derived[32])
{
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	unsigned length = 0;
	bool ok = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) &&
		  EVP_DigestUpdate(hash, label, strlen(label) + 1) &&
		  EVP_DigestUpdate(hash, key, TAG_KEY_BYTES) &&
		  EVP_DigestFinal_ex(hash, derived, &length);
	EVP_MD_CTX_free(hash);
	return ok;
}

struct tag_context *tag_context_new(const uint8_t key[TAG_KEY_BYTES], const char *label)
{
	uint8_t derived[32];
	struct tag_context *context = g_new0(struct tag_context, 1);
	context->cipher = EVP_CIPHER_CTX_new();
	if (!context->cipher || !derive_key(key, label, derived) ||
	    !EVP_EncryptInit_ex(context->cipher, EVP_aes_128_gcm(), NULL, derived, NULL)) {
		tag_context_free(context);
		context = NULL;
	}
	OPENSSL_cleanse(derived, sizeof(derived));
	return context;
}

void tag_context_free(struct tag_context *context)
{
	if (!context)
		return;
	EVP_CIPHER_CTX_free(context->cipher);
	g_free(context);
}

void tag_compute(struct tag_context *context, const void *data, size_t length,
		 uint8_t tag[TAG_BYTES])
{
	static const uint8_t nonce[12]; /* fixed: see the header */
	const uint8_t *at = data;
	int n = 0;
	bool ok = EVP_EncryptInit_ex(context->cipher, NULL, NULL, NULL, nonce);
	while (ok && length > 0) {
		int piece = (int) MIN(length, PIECE_MAX);
		ok = EVP_EncryptUpdate(context->cipher, NULL, &n, at, piece);
		at += piece;
		length -= (size_t) piece;
	}
	ok = ok && EVP_EncryptFinal_ex(context->cipher, NULL, &n) &&
	     EVP_CIPHER_CTX_ctrl(context->cipher, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, tag);
	/* A hash that fails must not look like agreement. */
	if (!ok)
		g_error("the crypto library could not compute a tag");
}

bool tag_equal(const uint8_t a[TAG_BYTES], const uint8_t b[TAG_BYTES])
{
	return CRYPTO_memcmp(a, b, TAG_BYTES) == 0;
}

void tag_fold(struct tag_context *context, uint8_t chain[TAG_BYTES], const uint8_t tag[TAG_BYTES])
{
	uint8_t both[2 * TAG_BYTES];
	memcpy(both, chain, TAG_BYTES);
	memcpy(both + TAG_BYTES, tag, TAG_BYTES);
	tag_compute(context, both, sizeof(both), chain);
}

void tag_hex(const uint8_t tag[TAG_BYTES], char text[TAG_HEX_BYTES])
{
	for (int i = 0; i < TAG_BYTES; i++)
		g_snprintf(text + 2 * i, 3, "%02x", tag[i]);
}
