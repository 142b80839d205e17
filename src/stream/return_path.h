/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the return path (destination QEMU to source QEMU) and finds SHUT in it.
 *
 * The same manner as reader.h: feed, then take messages; the bytes of all messages are exactly the
 * bytes fed. Unknown types are length-delimited and pass through. Format: docs/qemu-stream.md.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum return_kind {
	RETURN_SHUT = 1,
	RETURN_PONG = 2,
	RETURN_REQUEST_PAGES_ID = 3,
	RETURN_REQUEST_PAGES = 4,
	RETURN_RECV_BITMAP = 5,
	RETURN_RESUME_ACK = 6,
	RETURN_SWITCHOVER_ACK = 7,
};

struct return_message {
	uint16_t type;        /* enum return_kind or a number not known here */
	uint32_t value;       /* SHUT (0: loaded fine), PONG, RESUME_ACK. A SHUT or RESUME_ACK of
			       * the wrong length, which QEMU refuses, reads as UINT32_MAX */
	const uint8_t *bytes; /* whole message, or a fragment of a bitmap; valid until the next feed
			       * or next */
	size_t length;
	bool first; /* false: a further fragment of the bitmap after a RECV_BITMAP */
};

struct return_reader;
struct return_reader *return_reader_new(void);
void return_reader_free(struct return_reader *reader);
void return_reader_feed(struct return_reader *reader, const uint8_t *data, size_t length);
bool return_reader_next(struct return_reader *reader, struct return_message *message);
/* At the end of input: the bytes of an unfinished message; valid until the next call. What is fed
 * after that is read as the beginning of a message. */
size_t return_reader_flush(struct return_reader *reader, const uint8_t **bytes);
