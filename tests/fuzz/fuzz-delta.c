/* SPDX-License-Identifier: Apache-2.0 */
/* Deltas. The first byte chooses the size of the page and what the rest is: a delta to decode, or
 * an old and a new page to encode. What decodes is a page that encodes again; what is encoded comes
 * back; buffers are allocated to the byte. */
#include <stdlib.h>
#include <string.h>

#include "content/delta.h"

static void demand(bool truth)
{
	if (!truth)
		abort();
}

static void *copy(const void *bytes, size_t length)
{
	void *copied = malloc(length + !length);
	demand(copied != NULL);
	memcpy(copied, bytes, length);
	return copied;
}

static void round_trip(const uint8_t *old, const uint8_t *new, size_t page_bytes, size_t out_max)
{
	uint8_t *out = malloc(out_max + 1), *again = malloc(page_bytes);
	size_t length = delta_encode(old, new, page_bytes, out, out_max);
	demand(length <= out_max);
	demand(length > 0 || out_max < page_bytes + DELTA_SPARE);
	if (length > 0) {
		out = realloc(out, length);
		demand(delta_decode(old, out, length, again, page_bytes));
		demand(memcmp(again, new, page_bytes) == 0);
	}
	free(out);
	free(again);
}

static void decode(const uint8_t *data, size_t size, size_t page_bytes)
{
	uint8_t *in = copy(data, size), *old = malloc(page_bytes), *new = malloc(page_bytes);
	for (size_t i = 0; i < page_bytes; i++)
		old[i] = (uint8_t) (i * i >> 3);
	if (delta_decode(old, in, size, new, page_bytes))
		round_trip(old, new, page_bytes, page_bytes + DELTA_SPARE);
	free(in);
	free(old);
	free(new);
}

static void encode(const uint8_t *data, size_t size, size_t page_bytes)
{
	uint8_t *old = calloc(1, page_bytes), *new = calloc(1, page_bytes);
	size_t half = size / 2 < page_bytes ? size / 2 : page_bytes;
	memcpy(old, data, half);
	memcpy(new, data + half, half);
	for (size_t out_max = page_bytes + DELTA_SPARE; out_max > 0; out_max /= 2)
		round_trip(old, new, page_bytes, out_max);
	free(old);
	free(new);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	size_t page_bytes = (size_t) 64 << (data[0] >> 1) % 8;
	(data[0] & 1 ? encode : decode)(data + 1, size - 1, page_bytes);
	return 0;
}
