/* SPDX-License-Identifier: Apache-2.0 */
/* The return path: u16 type, u16 length, data; only RECV_BITMAP has more behind it: u64 n, n bytes
 * of bitmap and a closing u64, none of which its length counts. */
#include <stdlib.h>
#include <string.h>
#include "stream/internal.h"
#include "stream/return_path.h"

#define MESSAGE_MAX (4 + UINT16_MAX)

enum return_state {
	RETURN_STATE_MESSAGE,
	RETURN_STATE_BITMAP_SIZE,
	RETURN_STATE_BITMAP,
	RETURN_STATE_BITMAP_END,
};

struct return_reader {
	enum return_state state;
	uint64_t left_bytes; /* of a bitmap */
	const uint8_t *input;
	size_t input_length;
	size_t carry_length;
	size_t carry_given;
	uint8_t carry[MESSAGE_MAX];
};

struct return_reader *return_reader_new(void)
{
	struct return_reader *reader = calloc(1, sizeof(*reader));
	if (!reader)
		abort();
	return reader;
}

void return_reader_free(struct return_reader *reader)
{
	free(reader);
}

static void return_carry_drop(struct return_reader *reader)
{
	reader->carry_length -= reader->carry_given;
	memmove(reader->carry, reader->carry + reader->carry_given, reader->carry_length);
	reader->carry_given = 0;
}

void return_reader_feed(struct return_reader *reader, const uint8_t *data, size_t length)
{
	return_carry_drop(reader);
	reader->input = data;
	reader->input_length = length;
}

/* QEMU at the source takes SHUT and RESUME_ACK only with four bytes. */
static uint32_t message_value(uint16_t type, const uint8_t *data, size_t length)
{
	if (type != RETURN_SHUT && type != RETURN_PONG && type != RETURN_RESUME_ACK)
		return 0;
	return length == 4 ? be_get32(data) : UINT32_MAX;
}

/* The length of the message or fragment at BYTES, 0 with *need set when it is not complete. */
static size_t message_read(struct return_reader *reader, const uint8_t *bytes, size_t length,
			   struct return_message *message, size_t *need)
{
	*need = 4;
	if (length < 4)
		return 0;
	size_t data = be_get16(bytes + 2);
	*need = 4 + data;
	if (length < 4 + data)
		return 0;
	message->type = be_get16(bytes);
	message->value = message_value(message->type, bytes + 4, data);
	message->first = true;
	if (message->type == RETURN_RECV_BITMAP)
		reader->state = RETURN_STATE_BITMAP_SIZE;
	return 4 + data;
}

static size_t bitmap_read(struct return_reader *reader, const uint8_t *bytes, size_t length,
			  struct return_message *message, size_t *need)
{
	size_t part = 8;
	*need = 8;
	if (reader->state != RETURN_STATE_BITMAP && length < 8)
		return 0;
	message->type = RETURN_RECV_BITMAP;
	switch (reader->state) {
	case RETURN_STATE_BITMAP_SIZE:
		reader->left_bytes = be_get64(bytes);
		reader->state = reader->left_bytes ? RETURN_STATE_BITMAP : RETURN_STATE_BITMAP_END;
		break;
	case RETURN_STATE_BITMAP:
		part = length < reader->left_bytes ? length : (size_t) reader->left_bytes;
		reader->left_bytes -= part;
		if (!reader->left_bytes)
			reader->state = RETURN_STATE_BITMAP_END;
		break;
	default:
		reader->state = RETURN_STATE_MESSAGE;
	}
	return part;
}

/* Top the carry up to NEED bytes; false if the input does not have as many. */
static bool return_carry_fill(struct return_reader *reader, size_t need)
{
	size_t part = need - reader->carry_length;
	if (part > reader->input_length)
		part = reader->input_length;
	if (!part)
		return false;
	memcpy(reader->carry + reader->carry_length, reader->input, part);
	reader->carry_length += part;
	reader->input += part;
	reader->input_length -= part;
	return reader->carry_length == need;
}

bool return_reader_next(struct return_reader *reader, struct return_message *message)
{
	return_carry_drop(reader);
	for (;;) {
		bool carried = reader->carry_length > 0;
		const uint8_t *bytes = carried ? reader->carry : reader->input;
		size_t length = carried ? reader->carry_length : reader->input_length;
		size_t need;
		if (!length)
			return false;
		*message = (struct return_message){ .bytes = bytes };
		message->length = (reader->state == RETURN_STATE_MESSAGE
					   ? message_read
					   : bitmap_read)(reader, bytes, length, message, &need);
		if (!message->length) {
			if (return_carry_fill(reader, need))
				continue;
			return false;
		}
		if (carried) {
			reader->carry_given = message->length;
		} else {
			reader->input += message->length;
			reader->input_length -= message->length;
		}
		return true;
	}
}

size_t return_reader_flush(struct return_reader *reader, const uint8_t **bytes)
{
	return_carry_drop(reader);
	*bytes = reader->carry;
	reader->carry_given = reader->carry_length;
	reader->state = RETURN_STATE_MESSAGE;
	return reader->carry_length;
}
