/* SPDX-License-Identifier: Apache-2.0 */
/* Fingerprints as JSON, and their comparison. See likeness.h. */
#include "mover/compare/likeness.h"

#include "base/error.h"
#include "base/hex.h"
#include "base/i18n.h"

#include <string.h>

static bool is_bad_print(GError **error, const char *field)
{
	return error_set(error, WATARI_ERROR_INTERNAL, NULL, _("fingerprint: bad or missing “%s”"),
			 field);
}

/* ---- as JSON ---- */

static void set_numbers(JsonObject *object, const char *name, const uint64_t *numbers,
			unsigned count)
{
	g_autofree uint64_t *bytes = g_new(uint64_t, count + 1);
	for (unsigned i = 0; i < count; i++)
		bytes[i] = GUINT64_TO_LE(numbers[i]);
	g_autofree char *text = g_base64_encode((const guchar *) bytes, count * sizeof(*bytes));
	json_object_set_string_member(object, name, text);
}

static bool get_numbers(JsonObject *object, const char *name, uint64_t *numbers, unsigned *count)
{
	gsize length = 0;
	const char *text = json_get_string(object, name, NULL);
	g_autofree guchar *bytes = text ? g_base64_decode(text, &length) : NULL;
	if (!text || length % sizeof(*numbers) || length / sizeof(*numbers) > FINGERPRINT_MOST)
		return false;
	*count = (unsigned) (length / sizeof(*numbers));
	for (unsigned i = 0; i < *count; i++) {
		uint64_t number;
		memcpy(&number, bytes + i * sizeof(number), sizeof(number));
		numbers[i] = GUINT64_FROM_LE(number);
	}
	return true;
}

void fingerprint_describe(const struct fingerprint *print, JsonObject *object)
{
	char digest[TAG_HEX_BYTES];
	json_object_set_int_member(object, "size", (gint64) print->size);
	json_object_set_int_member(object, "filled", (gint64) print->filled);
	if (print->whole) {
		tag_hex(print->digest, digest);
		json_object_set_string_member(object, "digest", digest);
	}
	if (print->kept) {
		char text[2 * DIGEST_BYTES + 1];
		hex_print(print->kept_digest, DIGEST_BYTES, text);
		json_object_set_string_member(object, "kept", text);
	}
	set_numbers(object, "blocks", print->blocks, print->count);
	set_numbers(object, "tags", print->tags, print->count);
}

/* *there: the field is. False: it is nonsense. */
static bool parse_print_hex(JsonObject *object, const char *name, uint8_t *bytes, size_t length,
			    bool *there)
{
	const char *text = json_get_string(object, name, NULL);
	*there = text != NULL;
	return !text || hex_parse(text, bytes, length);
}

bool fingerprint_parse_blocks(struct fingerprint *print, JsonObject *object, GError **error)
{
	if (!get_numbers(object, "blocks", print->blocks, &print->count))
		return is_bad_print(error, "blocks");
	for (unsigned i = 0; i < print->count; i++)
		if (print->blocks[i] > INT64_MAX / FINGERPRINT_BLOCK - 1)
			return is_bad_print(error, "blocks");
	return true;
}

bool fingerprint_parse(struct fingerprint *print, JsonObject *object, GError **error)
{
	unsigned tags = 0;
	int64_t size = json_get_int(object, "size", -1);
	print->size = (uint64_t) size;
	if (size < 0)
		return is_bad_print(error, "size");
	if (!fingerprint_parse_blocks(print, object, error))
		return false;
	if (!get_numbers(object, "tags", print->tags, &tags) || tags != print->count)
		return is_bad_print(error, "tags");
	print->filled = (uint64_t) CLAMP(json_get_int(object, "filled", 0), 0, print->count);
	if (!parse_print_hex(object, "kept", print->kept_digest, DIGEST_BYTES, &print->kept))
		return is_bad_print(error, "kept");
	return parse_print_hex(object, "digest", print->digest, TAG_BYTES, &print->whole) ||
	       is_bad_print(error, "digest");
}

/* ---- the comparison ---- */

static bool is_stable(const struct fingerprint *before, const struct fingerprint *after, unsigned i)
{
	return !after || (i < after->count && after->blocks[i] == before->blocks[i] &&
			  after->tags[i] == before->tags[i]);
}

struct fingerprint_likeness fingerprint_compare(const struct fingerprint *before,
						const struct fingerprint *there,
						const struct fingerprint *after)
{
	struct fingerprint_likeness likeness = { 0 };
	for (unsigned i = 0; i < MIN(before->count, there->count); i++) {
		bool both =
			before->tags[i] && there->tags[i] && before->blocks[i] == there->blocks[i];
		if (!both || !is_stable(before, after, i))
			continue;
		likeness.compared++;
		if (before->tags[i] == there->tags[i])
			continue;
		if (!likeness.differing++)
			likeness.where = before->blocks[i] * FINGERPRINT_BLOCK;
	}
	return likeness;
}
