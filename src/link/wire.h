/* SPDX-License-Identifier: Apache-2.0 */
/* What travels on one connection of the link, inside TLS, and its decoder.
 *
 * The source mover assigns the lane, whichever side opened the socket:
 *
 *   destination                                    source
 *       HELLO {lane asked for, or any} ---------------->
 *       <--------------------------- HELLO {lane given}
 *
 * and from then on, both ways and in any order:
 *
 *       DATA {stream, sequence, flags, tag} + payload -->      one frame of a stream
 *       <------ ACK {stream, consumed, expected}               all below `consumed` are used up,
 *                                                              all below `expected` have arrived
 *       FINISH {stream, final sequence} --------------->       may overtake data; may be repeated
 *       PING {time} ----------------------------------->
 *       <------ PONG {the same time}
 *       CLOSE {reason, may be empty} ------------------>       the last message
 *
 * HELLO says, for each stream, the next sequence its sender expects, so that after a broken
 * connection only what is missing goes out again. ACK and FINISH hold for the link, not for the
 * connection: they are repeated when a connection is lost. Whatever arrives twice is dropped.
 *
 * The trial: before the link is up for the first time, each side lets its HELLO be followed by
 * bytes that mean nothing, and takes a connection for one only when those of the other side have
 * come. Packets of a few hundred bytes pass where longer ones do not (an MTU that is not that of
 * the path), and a link that was judged by them would come up and carry nothing.
 *
 * Every message starts with the same header of WIRE_HEADER_BYTES, big-endian:
 *
 *    0  u32  length of the payload
 *    4  u8   type
 *    5  u8   stream (DATA, ACK, FINISH; else 0)
 *    6  u16  0
 *    8  u32  flags (DATA: the mover's; else 0)
 *   12  u32  0
 *   16  u64  sequence (DATA, FINISH), consumed (ACK), time (PING, PONG); else 0
 *   24  16   tag (DATA; else 0)
 *
 * Payloads: DATA up to LINK_PAYLOAD_MAX. ACK: u64 expected. CLOSE: up to WIRE_REASON_MAX bytes of
 * UTF-8. HELLO, WIRE_HELLO_BYTES:
 *
 *    0  8    "WATARI-L"
 *    8  u16  version, WIRE_VERSION
 *   10  u16  lane, WIRE_LANE_ANY: the source may choose
 *   12  u16  number of lanes
 *   14  u8   1: the source speaks, 0: the destination
 *   15  u8   number of streams, LINK_STREAM_LAST
 *   16  u32  features: 0. A bit is a sentence both sides must say before either acts on it.
 *   20  u32  trial: so many zero bytes follow the message, at most WIRE_TRIAL_MAX
 *   24  u64  window: unconsumed bytes of LINK_MEMORY that the speaker can hold
 *   32  u64 x LINK_STREAM_LAST  next expected sequence
 *
 * A receiver never holds more of a stream than its window in bytes and its frames_max in number
 * (wire_streams[]); a sender that goes beyond has broken the protocol, and the link ends.
 *
 * The decoder is a pull object, no socket in sight: it says where the next bytes go, the caller
 * puts them there and says how many, it says what became of them.
 *
 */
#pragma once
#include "link/link.h"

#define WIRE_VERSION 2
#define WIRE_HEADER_BYTES 40
#define WIRE_HELLO_BYTES (32 + 8 * LINK_STREAM_LAST)
#define WIRE_REASON_MAX 512
#define WIRE_LANE_ANY 0xffff
#define WIRE_TRIAL_MAX (1024 * 1024)
#define WIRE_CONTROL_MAX WIRE_REASON_MAX /* longest payload that is not DATA */
#define WIRE_WINDOW_MIN (1024 * 1024)    /* what every receiver can hold of LINK_MEMORY */
#define WIRE_WINDOW_SMALL (1024 * 1024)  /* of the other streams */

enum wire_type {
	WIRE_HELLO,
	WIRE_DATA,
	WIRE_ACK,
	WIRE_FINISH,
	WIRE_PING,
	WIRE_PONG,
	WIRE_CLOSE,
	WIRE_TYPE_LAST
};

/* What both ends know about a stream. frames_max is a power of two. */
struct wire_stream {
	const char *name;
	uint32_t frames_max;
	bool from_source, from_destination;
};
extern const struct wire_stream wire_streams[LINK_STREAM_LAST];

struct wire_hello {
	uint16_t version, lane, lanes;
	bool source;
	uint32_t features, trial;
	uint64_t window;
	uint64_t expected[LINK_STREAM_LAST];
};

struct wire_message {
	enum wire_type type;
	enum link_stream stream;
	uint32_t length, flags;
	uint64_t sequence;
	uint8_t tag[LINK_TAG_BYTES];
	uint64_t expected;                /* ACK */
	struct wire_hello hello;          /* HELLO */
	char reason[WIRE_REASON_MAX + 1]; /* CLOSE: printable, ended by 0 */
};

/* Write a message to AT; the number of bytes. Data: the header only. */
size_t wire_put_data(uint8_t *at, enum link_stream stream, const struct link_frame *frame);
size_t wire_put_ack(uint8_t *at, enum link_stream stream, uint64_t consumed, uint64_t expected);
size_t wire_put_finish(uint8_t *at, enum link_stream stream, uint64_t final);
size_t wire_put_ping(uint8_t *at, enum wire_type type, uint64_t time);
size_t wire_put_close(uint8_t *at, const char *reason); /* cut to WIRE_REASON_MAX */
size_t wire_put_hello(uint8_t *at, const struct wire_hello *hello);

enum wire_event {
	WIRE_MORE,    /* feed it more */
	WIRE_FRAME,   /* the header of a DATA message is here: say where its payload goes */
	WIRE_MESSAGE, /* one whole message in .message; DATA: the payload is where it was asked for
		       */
	WIRE_BAD      /* the peer broke the protocol: .problem; nothing more can be decoded */
};

struct wire_decoder {
	bool peer_is_source; /* which streams may come */
	enum { WIRE_IN_HEADER, WIRE_AT_FRAME, WIRE_IN_PAYLOAD, WIRE_BROKEN } state;
	size_t filled;    /* of the header, or of the payload */
	uint8_t *payload; /* NULL: discard */
	uint8_t header[WIRE_HEADER_BYTES];
	uint8_t control[WIRE_CONTROL_MAX];
	uint8_t discard[16384];
	struct wire_message message;
	const char *problem;
};

void wire_decoder_init(struct wire_decoder *decoder, bool peer_is_source);
/* Where the next bytes go and how many are wanted (never 0 but in WIRE_BROKEN and WIRE_AT_FRAME).
 */
size_t wire_decoder_space(struct wire_decoder *decoder, uint8_t **at);
/* LENGTH bytes were put there. */
enum wire_event wire_decoder_advance(struct wire_decoder *decoder, size_t length);
/* The answer to WIRE_FRAME: room for message.length bytes, or NULL to drop them. Returns
 * WIRE_MESSAGE at once when there is no payload. */
enum wire_event wire_decoder_take_payload(struct wire_decoder *decoder, uint8_t *payload);
