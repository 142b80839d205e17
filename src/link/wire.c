/* SPDX-License-Identifier: Apache-2.0 */
/* Encoding and decoding of the link's messages; see wire.h. */
#include "link/wire.h"

#include <string.h>

#include "base/be.h"
#include "base/i18n.h"

static const char magic[8] = { 'W', 'A', 'T', 'A', 'R', 'I', '-', 'L' };

const struct wire_stream wire_streams[] = {
	[LINK_MEMORY] = { "memory", 16384, true, false },
	[LINK_DISK] = { "disk", 2048, true, true },
	[LINK_RETURN] = { "return", 2048, false, true },
	[LINK_TALK] = { "talk", 2048, true, true },
};
_Static_assert(G_N_ELEMENTS(wire_streams) == LINK_STREAM_LAST, "every stream is described");

/* Which payload lengths a message may have, and whether it names a stream. */
static const struct {
	uint32_t shortest, longest;
	bool streamed;
} types[] = {
	[WIRE_HELLO] = { WIRE_HELLO_BYTES, WIRE_HELLO_BYTES, false },
	[WIRE_DATA] = { 0, LINK_PAYLOAD_MAX, true },
	[WIRE_ACK] = { 8, 8, true },
	[WIRE_FINISH] = { 0, 0, true },
	[WIRE_PING] = { 0, 0, false },
	[WIRE_PONG] = { 0, 0, false },
	[WIRE_CLOSE] = { 0, WIRE_REASON_MAX, false },
};
_Static_assert(G_N_ELEMENTS(types) == WIRE_TYPE_LAST, "every type is described");
_Static_assert(WIRE_HELLO_BYTES <= WIRE_CONTROL_MAX, "a hello fits");

static size_t put_header(uint8_t *at, enum wire_type type, unsigned stream, uint64_t sequence,
			 size_t length)
{
	memset(at, 0, WIRE_HEADER_BYTES);
	be_put32(at, (uint32_t) length);
	at[4] = (uint8_t) type;
	at[5] = (uint8_t) stream;
	be_put64(at + 16, sequence);
	return WIRE_HEADER_BYTES;
}

size_t wire_put_data(uint8_t *at, enum link_stream stream, const struct link_frame *frame)
{
	put_header(at, WIRE_DATA, stream, frame->sequence, frame->length);
	be_put32(at + 8, frame->flags);
	memcpy(at + 24, frame->tag, LINK_TAG_BYTES);
	return WIRE_HEADER_BYTES;
}

size_t wire_put_ack(uint8_t *at, enum link_stream stream, uint64_t consumed, uint64_t expected)
{
	put_header(at, WIRE_ACK, stream, consumed, 8);
	be_put64(at + WIRE_HEADER_BYTES, expected);
	return WIRE_HEADER_BYTES + 8;
}

size_t wire_put_finish(uint8_t *at, enum link_stream stream, uint64_t final)
{
	return put_header(at, WIRE_FINISH, stream, final, 0);
}

size_t wire_put_ping(uint8_t *at, enum wire_type type, uint64_t time)
{
	return put_header(at, type, 0, time, 0);
}

size_t wire_put_close(uint8_t *at, const char *reason)
{
	size_t length = strnlen(reason, WIRE_REASON_MAX);
	/* If it must be cut, then not in the middle of a character. */
	while (length > 0 && ((uint8_t) reason[length] & 0xc0) == 0x80)
		length--;
	put_header(at, WIRE_CLOSE, 0, 0, length);
	memcpy(at + WIRE_HEADER_BYTES, reason, length);
	return WIRE_HEADER_BYTES + length;
}

size_t wire_put_hello(uint8_t *at, const struct wire_hello *hello)
{
	put_header(at, WIRE_HELLO, 0, 0, WIRE_HELLO_BYTES);
	uint8_t *body = at + WIRE_HEADER_BYTES;
	memset(body, 0, WIRE_HELLO_BYTES);
	memcpy(body, magic, sizeof(magic));
	be_put16(body + 8, hello->version);
	be_put16(body + 10, hello->lane);
	be_put16(body + 12, hello->lanes);
	body[14] = hello->source;
	body[15] = LINK_STREAM_LAST;
	be_put32(body + 16, hello->features);
	be_put32(body + 20, hello->trial);
	be_put64(body + 24, hello->window);
	for (int i = 0; i < LINK_STREAM_LAST; i++)
		be_put64(body + 32 + 8 * i, hello->expected[i]);
	return WIRE_HEADER_BYTES + WIRE_HELLO_BYTES;
}

void wire_decoder_init(struct wire_decoder *decoder, bool peer_is_source)
{
	*decoder = (struct wire_decoder){ .peer_is_source = peer_is_source };
}

static enum wire_event refuse_wire(struct wire_decoder *decoder, const char *problem)
{
	decoder->state = WIRE_BROKEN;
	decoder->problem = problem;
	return WIRE_BAD;
}

static enum wire_event complete_frame(struct wire_decoder *decoder)
{
	decoder->state = WIRE_IN_HEADER;
	decoder->filled = 0;
	return WIRE_MESSAGE;
}

/* A message type that names a stream names one that its sender may use. ACKs run against it. */
static bool stream_allowed(const struct wire_decoder *decoder, enum wire_type type, uint8_t stream)
{
	if (!types[type].streamed)
		return stream == 0;
	if (stream >= LINK_STREAM_LAST)
		return false;
	bool by_source = decoder->peer_is_source ^ (type == WIRE_ACK);
	return by_source ? wire_streams[stream].from_source : wire_streams[stream].from_destination;
}

static enum wire_event read_header(struct wire_decoder *decoder)
{
	static const uint8_t zero[LINK_TAG_BYTES];
	const uint8_t *header = decoder->header;
	struct wire_message *message = &decoder->message;
	uint8_t type = header[4], stream = header[5];

	message->length = be_get32(header);
	message->flags = be_get32(header + 8);
	message->sequence = be_get64(header + 16);
	memcpy(message->tag, header + 24, LINK_TAG_BYTES);
	if (type >= WIRE_TYPE_LAST)
		return refuse_wire(decoder, N_("unknown message type"));
	message->type = type;
	if (!stream_allowed(decoder, message->type, stream))
		return refuse_wire(decoder, N_("message for a stream that it may not use"));
	message->stream = stream;
	if (message->length < types[type].shortest || message->length > types[type].longest)
		return refuse_wire(decoder, N_("message of an impossible length"));
	if (be_get16(header + 6) != 0 || be_get32(header + 12) != 0)
		return refuse_wire(decoder, N_("reserved field is not zero"));
	if (type != WIRE_DATA && (message->flags || memcmp(message->tag, zero, sizeof(zero)) != 0))
		return refuse_wire(decoder, N_("reserved field is not zero"));

	decoder->filled = 0;
	if (type == WIRE_DATA) {
		decoder->state = WIRE_AT_FRAME;
		return WIRE_FRAME;
	}
	decoder->payload = decoder->control;
	decoder->state = WIRE_IN_PAYLOAD;
	return WIRE_MORE;
}

static enum wire_event read_hello(struct wire_decoder *decoder)
{
	const uint8_t *body = decoder->control;
	struct wire_hello *hello = &decoder->message.hello;
	if (memcmp(body, magic, sizeof(magic)) != 0)
		return refuse_wire(decoder, N_("not a hello of a Watari mover"));
	hello->version = be_get16(body + 8);
	hello->lane = be_get16(body + 10);
	hello->lanes = be_get16(body + 12);
	hello->source = body[14] == 1;
	hello->features = be_get32(body + 16);
	hello->trial = be_get32(body + 20);
	hello->window = be_get64(body + 24);
	for (int i = 0; i < LINK_STREAM_LAST; i++)
		hello->expected[i] = be_get64(body + 32 + 8 * i);
	if (hello->version != WIRE_VERSION)
		return refuse_wire(decoder, N_("hello of another protocol version"));
	if (body[14] > 1 || hello->source != decoder->peer_is_source)
		return refuse_wire(decoder, N_("hello with the wrong role"));
	if (body[15] != LINK_STREAM_LAST || hello->window < WIRE_WINDOW_MIN || hello->lanes == 0 ||
	    hello->lanes > LINK_CONNECTIONS_MAX || hello->trial > WIRE_TRIAL_MAX ||
	    (hello->lane != WIRE_LANE_ANY && hello->lane >= hello->lanes))
		return refuse_wire(decoder, N_("hello with impossible values"));
	return complete_frame(decoder);
}

/* The reason is shown to a person: nothing in it may steer a terminal. */
static enum wire_event read_close(struct wire_decoder *decoder)
{
	struct wire_message *message = &decoder->message;
	memcpy(message->reason, decoder->control, message->length);
	message->reason[message->length] = 0;
	bool utf8 = g_utf8_validate(message->reason, (gssize) message->length, NULL);
	for (uint32_t i = 0; i < message->length; i++) {
		uint8_t byte = (uint8_t) message->reason[i];
		if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !utf8))
			message->reason[i] = '?';
	}
	return complete_frame(decoder);
}

static enum wire_event read_payload(struct wire_decoder *decoder)
{
	struct wire_message *message = &decoder->message;
	if (message->type == WIRE_HELLO)
		return read_hello(decoder);
	if (message->type == WIRE_CLOSE)
		return read_close(decoder);
	if (message->type == WIRE_ACK) {
		message->expected = be_get64(decoder->control);
		if (message->expected < message->sequence)
			return refuse_wire(decoder, N_("more consumed than received"));
	}
	return complete_frame(decoder);
}

size_t wire_decoder_space(struct wire_decoder *decoder, uint8_t **at)
{
	switch (decoder->state) {
	case WIRE_IN_HEADER:
		*at = decoder->header + decoder->filled;
		return WIRE_HEADER_BYTES - decoder->filled;
	case WIRE_IN_PAYLOAD: {
		size_t left = decoder->message.length - decoder->filled;
		if (decoder->payload) {
			*at = decoder->payload + decoder->filled;
			return left;
		}
		*at = decoder->discard;
		return MIN(left, sizeof(decoder->discard));
	}
	case WIRE_AT_FRAME:
	case WIRE_BROKEN:
		break;
	}
	*at = NULL;
	return 0;
}

enum wire_event wire_decoder_advance(struct wire_decoder *decoder, size_t length)
{
	if (decoder->state == WIRE_BROKEN)
		return WIRE_BAD;
	decoder->filled += length;
	if (decoder->state == WIRE_IN_HEADER) {
		if (decoder->filled < WIRE_HEADER_BYTES)
			return WIRE_MORE;
		enum wire_event event = read_header(decoder);
		if (event != WIRE_MORE || decoder->message.length > 0)
			return event;
	}
	if (decoder->filled < decoder->message.length)
		return WIRE_MORE;
	return read_payload(decoder);
}

enum wire_event wire_decoder_take_payload(struct wire_decoder *decoder, uint8_t *payload)
{
	decoder->payload = payload;
	decoder->state = WIRE_IN_PAYLOAD;
	return decoder->message.length > 0 ? WIRE_MORE : complete_frame(decoder);
}
