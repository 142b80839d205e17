/* SPDX-License-Identifier: Apache-2.0 */
/* The destination's way of the data on hostile frames: unpack, read the body, resolve against
 * caches that hold something. The input is a row of frames, each
 *
 *   kind of the batch (low 4 bits) and method (high 4), length (2 bytes, little-endian), length of
 *   the body (3 bytes), the packed body
 *
 * behind a good beginning of a stream. Tags are wrong, of course; to get further, what is merely
 * different is taken as if it were right. Whatever comes: nothing outside the buffers is touched,
 * and what is emitted fits where it goes. */
#include <stdlib.h>
#include <string.h>

#include "content-pair.h"

static void demand(bool truth)
{
	if (!truth)
		abort();
}

#define FRAMES 2

/* Blocks of 40 and 3 pages, most of them with something in them. The block list travels in a frame
 * of its own, as the pages after it need it. */
static void make_beginning(struct frame frames[FRAMES])
{
	struct pair *pair = pair_new(1 << 20);
	struct guest *guest = guest_new(40, 3, 1);
	GByteArray *bytes = g_byte_array_new();
	int last_block = -1;
	size_t left = 0;
	guest_put_start(guest, bytes);
	left = bytes->len;
	frames[0] = pair_encode_bytes(pair, bytes->data, &left);
	g_byte_array_set_size(bytes, 0);
	guest_put_part(bytes);
	for (uint32_t page = 0; page < 43; page++) {
		guest_change(guest, page, (enum guest_change)(page % CHANGE_LAST));
		guest_put_page(guest, bytes, page, &last_block);
	}
	left = bytes->len;
	frames[1] = pair_encode_bytes(pair, bytes->data, &left);
	demand(left == 0);
	g_byte_array_unref(bytes);
	guest_free(guest);
	pair_free(pair);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct frame beginning[FRAMES];
	if (!beginning[0].data)
		make_beginning(beginning);
	struct pair *pair = pair_new_destination(1 << 20);
	for (int i = 0; i < FRAMES; i++)
		demand(pair_decode(pair, &beginning[i]));
	pair->trusting = true;
	while (size >= 6) {
		struct frame frame = {
			.kind = (enum batch_kind)((data[0] & 15) % BATCH_KIND_LAST),
			.method = (enum codec_method)(data[0] >> 4),
			.body = data[3] | (uint32_t) data[4] << 8 | (uint32_t) data[5] << 16,
			.length = MIN(data[1] | (size_t) data[2] << 8, size - 6),
		};
		frame.data = g_malloc(frame.length + 1);
		memcpy(frame.data, data + 6, frame.length);
		pair_decode(pair, &frame);
		data += 6 + frame.length;
		size -= 6 + frame.length;
		frame_free(&frame);
	}
	pair_free(pair);
	return 0;
}
