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
	uint16_t type;	      /* enum return_kind or a number not known here */
	uint32_t value;	      /* SHUT, PONG, RESUME_ACK */
	const uint8_t *bytes; /* whole message, or a fragment of a bitmap; valid until next feed */
	size_t length;
};

struct return_reader;
struct return_reader *return_reader_new(void);
void return_reader_free(struct return_reader *reader);
void return_reader_feed(struct return_reader *reader, const uint8_t *data, size_t length);
bool return_reader_next(struct return_reader *reader, struct return_message *message);
