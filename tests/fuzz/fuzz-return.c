/* SPDX-License-Identifier: Apache-2.0 */
/* The return path reader on hostile input: the first byte is the chunk length, the rest the bytes.
 * The messages' bytes are the bytes fed and do not depend on the chunks.
 */
#include <stdlib.h>
#include <string.h>
#include "stream/return_path.h"

static void demand(int truth)
{
	if (!truth)
		abort();
}

static uint64_t read_all(const uint8_t *data, size_t length, size_t chunk_max)
{
	struct return_reader *reader = return_reader_new();
	struct return_message message;
	const uint8_t *rest;
	uint64_t digest = 0;
	size_t done = 0;
	for (size_t at = 0; at < length;) {
		size_t chunk = chunk_max < length - at ? chunk_max : length - at;
		uint8_t *copy = malloc(chunk);
		memcpy(copy, data + at, chunk);
		return_reader_feed(reader, copy, chunk);
		at += chunk;
		while (return_reader_next(reader, &message)) {
			demand(message.length > 0 && message.length <= at - done);
			demand(!memcmp(message.bytes, data + done, message.length));
			if (message.first)
				digest = digest * 0x9e3779b97f4a7c15ULL + message.type +
					 ((uint64_t) message.value << 16) + (done << 8);
			done += message.length;
		}
		demand(at - done < 4 + UINT16_MAX);
		free(copy);
	}
	size_t left = return_reader_flush(reader, &rest);
	demand(done + left == length);
	demand(!left || !memcmp(rest, data + done, left));
	return_reader_free(reader);
	return digest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	demand(read_all(data + 1, size - 1, size) == read_all(data + 1, size - 1, 1U + data[0]));
	return 0;
}
