/* SPDX-License-Identifier: Apache-2.0 */
/* As much of libvirt's RPC as the guard must understand: packets, and which of them are the Finish
 * and Confirm of a migration.
 *
 * The format (libvirt, docs/kbase/internals/rpc; src/rpc/virnetprotocol.x and
 * src/remote/remote_protocol.x; stable since 2010): each packet is
 *
 *	u32 length (of the whole packet, these four bytes too; at most 32 MiB)
 *	u32 program, u32 version, i32 procedure, i32 type, u32 serial, i32 status
 *	payload (XDR)
 *
 * all big-endian. A reply carries its call's serial. The arguments of Finish3, Finish3Params,
 * Confirm3 and Confirm3Params all end with `int cancelled`, so it is the last four bytes.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RPC_HEADER_BYTES 28
#define RPC_LENGTH_MAX (32u * 1024 * 1024)
#define RPC_PROGRAM_REMOTE 0x20008086u

enum rpc_type {
	RPC_CALL = 0,
	RPC_REPLY = 1,
	RPC_MESSAGE = 2,
	RPC_STREAM = 3,
	RPC_CALL_WITH_FDS = 4,
	RPC_REPLY_WITH_FDS = 5,
	RPC_STREAM_HOLE = 6,
};

enum rpc_procedure {
	RPC_MIGRATE_FINISH3 = 217,
	RPC_MIGRATE_CONFIRM3 = 218,
	RPC_MIGRATE_FINISH3_PARAMS = 306,
	RPC_MIGRATE_CONFIRM3_PARAMS = 307,
};

struct rpc_header {
	uint32_t length; /* the whole packet */
	uint32_t program, version;
	uint32_t procedure, type, serial;
	uint32_t status; /* 0: ok, 1: error, 2: goes on */
};

/* From RPC_HEADER_BYTES bytes. False: this is not libvirt's RPC. */
bool rpc_read_header(const uint8_t *data, struct rpc_header *header);
bool rpc_is_finish_call(const struct rpc_header *header);
bool rpc_is_confirm_call(const struct rpc_header *header);
bool rpc_is_finish_reply(const struct rpc_header *header, uint32_t serial);
/* The last argument of a whole Finish or Confirm call. */
bool rpc_is_cancelled(const uint8_t *packet, const struct rpc_header *header);
