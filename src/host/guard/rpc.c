/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's RPC packets. See rpc.h. */
#include "host/guard/rpc.h"

static uint32_t read_u32(const uint8_t *data)
{
	return (uint32_t) data[0] << 24 | (uint32_t) data[1] << 16 | (uint32_t) data[2] << 8 |
	       data[3];
}

bool rpc_read_header(const uint8_t *data, struct rpc_header *header)
{
	*header = (struct rpc_header){
		.length = read_u32(data),
		.program = read_u32(data + 4),
		.version = read_u32(data + 8),
		.procedure = read_u32(data + 12),
		.type = read_u32(data + 16),
		.serial = read_u32(data + 20),
		.status = read_u32(data + 24),
	};
	/* Types above those known today may come; a stream that is not RPC at all (TLS, SASL
	 * encryption) fails here with near certainty. */
	return header->length >= RPC_HEADER_BYTES && header->length <= RPC_LENGTH_MAX &&
	       header->type < 16 && header->status <= 2;
}

static bool is_call(const struct rpc_header *header)
{
	return header->program == RPC_PROGRAM_REMOTE &&
	       (header->type == RPC_CALL || header->type == RPC_CALL_WITH_FDS);
}

bool rpc_is_finish_call(const struct rpc_header *header)
{
	return is_call(header) && (header->procedure == RPC_MIGRATE_FINISH3 ||
				   header->procedure == RPC_MIGRATE_FINISH3_PARAMS);
}

bool rpc_is_confirm_call(const struct rpc_header *header)
{
	return is_call(header) && (header->procedure == RPC_MIGRATE_CONFIRM3 ||
				   header->procedure == RPC_MIGRATE_CONFIRM3_PARAMS);
}

bool rpc_is_finish_reply(const struct rpc_header *header, uint32_t serial)
{
	return header->program == RPC_PROGRAM_REMOTE && header->serial == serial &&
	       (header->type == RPC_REPLY || header->type == RPC_REPLY_WITH_FDS) &&
	       (header->procedure == RPC_MIGRATE_FINISH3 ||
		header->procedure == RPC_MIGRATE_FINISH3_PARAMS);
}

bool rpc_is_cancelled(const uint8_t *packet, const struct rpc_header *header)
{
	return header->length >= RPC_HEADER_BYTES + 4 && read_u32(packet + header->length - 4) != 0;
}
