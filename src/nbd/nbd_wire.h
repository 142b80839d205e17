/* SPDX-License-Identifier: Apache-2.0 */
/* NBD as a server speaks it: bytes to structs and back. No sockets, no memory, no state.
 *
 * Format: the NBD project's doc/proto.md (fixed newstyle, compact requests, simple replies); what
 * QEMU's mirror job makes of it: docs/qemu-stream.md. Structured replies and extended headers are
 * refused, which QEMU takes well: a mirror hardly reads, and what it writes may be cut at will.
 *
 * All integers are big-endian on the wire. Every get function is given exactly the bytes that its
 * comment names and checks what it returns.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NBD_HELLO_BYTES 18
#define NBD_CLIENT_FLAGS_BYTES 4
#define NBD_OPTION_BYTES 16
#define NBD_OPTION_REPLY_BYTES 20
#define NBD_REQUEST_BYTES 28
#define NBD_REPLY_BYTES 16
#define NBD_EXPORT_BYTES (10 + 124) /* the answer to EXPORT_NAME, with its zeroes */

#define NBD_NAME_MAX 4096
/* Of a client that behaves: a name, and two bytes for each kind of information it wants. */
#define NBD_OPTION_DATA_MAX (NBD_NAME_MAX + 1024)
#define NBD_BLOCK_MIN 1
#define NBD_BLOCK_PREFERRED (64 * 1024)
/* Told to clients: the longest READ and WRITE. QEMU takes it for the longest WRITE_ZEROES too. */
#define NBD_BLOCK_MAX (32 * 1024 * 1024)

/* ---- handshake ---- */

enum nbd_option_code {
	NBD_OPTION_EXPORT_NAME = 1,
	NBD_OPTION_ABORT = 2,
	NBD_OPTION_LIST = 3,
	NBD_OPTION_INFO = 6,
	NBD_OPTION_GO = 7,
};

/* Answers to options. */
#define NBD_ANSWER_ACK 1u
#define NBD_ANSWER_SERVER 2u
#define NBD_ANSWER_INFO 3u
#define NBD_ANSWER_UNSUPPORTED 0x80000001u
#define NBD_ANSWER_INVALID 0x80000003u
#define NBD_ANSWER_UNKNOWN 0x80000006u

struct nbd_option {
	uint32_t code, length; /* of its data, which follows */
};

struct nbd_export {
	const char *name;
	uint64_t size; /* bytes */
	bool read_only;
};

void nbd_put_hello(uint8_t at[NBD_HELLO_BYTES]);
/* False: it cannot speak as we do. */
bool nbd_get_client_flags(const uint8_t at[NBD_CLIENT_FLAGS_BYTES], bool *no_zeroes);
/* False: no option begins here. */
bool nbd_get_option(const uint8_t at[NBD_OPTION_BYTES], struct nbd_option *option);
/* The head of an answer to OPTION; LENGTH bytes follow. */
void nbd_put_answer(uint8_t at[NBD_OPTION_REPLY_BYTES], uint32_t option, uint32_t type,
		    uint32_t length);
/* The name in the data of INFO and GO (not terminated). False: it is not well-formed. */
bool nbd_get_go(const uint8_t *data, uint32_t length, const char **name, uint32_t *name_length);

#define NBD_INFO_EXPORT_BYTES 12
#define NBD_INFO_BLOCK_BYTES 14
void nbd_put_info_export(uint8_t at[NBD_INFO_EXPORT_BYTES], const struct nbd_export *export);
void nbd_put_info_block(uint8_t at[NBD_INFO_BLOCK_BYTES]);
/* The answer to EXPORT_NAME; returns its length. */
size_t nbd_put_export(uint8_t at[NBD_EXPORT_BYTES], const struct nbd_export *export,
		      bool no_zeroes);

/* ---- transmission ---- */

enum nbd_command {
	NBD_READ = 0,
	NBD_WRITE = 1,
	NBD_DISCONNECT = 2,
	NBD_FLUSH = 3,
	NBD_TRIM = 4,
	NBD_WRITE_ZEROES = 6,
};

struct nbd_head {
	uint16_t command; /* enum nbd_command, or anything else */
	uint16_t flags;
	uint64_t cookie, offset;
	uint32_t length;
};

#define NBD_FLAG_FUA 1
#define NBD_FLAG_NO_HOLE 2

/* False: no request begins here. */
bool nbd_get_request(const uint8_t at[NBD_REQUEST_BYTES], struct nbd_head *head);
/* 0, or the errno that the client is to get: EXPORT has no such bytes, the flags do not fit ... */
int nbd_check_request(const struct nbd_head *head, const struct nbd_export *export);
/* REASON: an errno, 0: it is done. */
void nbd_put_reply(uint8_t at[NBD_REPLY_BYTES], uint64_t cookie, int reason);
