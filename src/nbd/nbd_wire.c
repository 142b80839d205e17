/* SPDX-License-Identifier: Apache-2.0 */
/* Encodes and decodes NBD messages. */
#include "nbd/nbd_wire.h"

#include "base/be.h"

#include <errno.h>
#include <string.h>

#define MAGIC_SERVER 0x4e42444d41474943ull /* "NBDMAGIC" */
#define MAGIC_OPTION 0x49484156454f5054ull /* "IHAVEOPT" */
#define MAGIC_ANSWER 0x0003e889045565a9ull
#define MAGIC_REQUEST 0x25609513u
#define MAGIC_REPLY 0x67446698u

#define FIXED_NEWSTYLE 1
#define NO_ZEROES 2

#define INFO_EXPORT 0
#define INFO_BLOCK_SIZE 3

/* What an export can do. */
#define CAN_HAS_FLAGS (1 << 0)
#define CAN_READ_ONLY (1 << 1)
#define CAN_FLUSH (1 << 2)
#define CAN_FUA (1 << 3)
#define CAN_TRIM (1 << 5)
#define CAN_WRITE_ZEROES (1 << 6)

void nbd_put_hello(uint8_t at[NBD_HELLO_BYTES])
{
	be_put64(at, MAGIC_SERVER);
	be_put64(at + 8, MAGIC_OPTION);
	be_put16(at + 16, FIXED_NEWSTYLE | NO_ZEROES);
}

bool nbd_get_client_flags(const uint8_t at[NBD_CLIENT_FLAGS_BYTES], bool *no_zeroes)
{
	uint32_t flags = be_get32(at);
	*no_zeroes = flags & NO_ZEROES;
	return flags & FIXED_NEWSTYLE && !(flags & ~(uint32_t) (FIXED_NEWSTYLE | NO_ZEROES));
}

bool nbd_get_option(const uint8_t at[NBD_OPTION_BYTES], struct nbd_option *option)
{
	*option = (struct nbd_option){ .code = be_get32(at + 8), .length = be_get32(at + 12) };
	return be_get64(at) == MAGIC_OPTION;
}

void nbd_put_answer(uint8_t at[NBD_OPTION_REPLY_BYTES], uint32_t option, uint32_t type,
		    uint32_t length)
{
	be_put64(at, MAGIC_ANSWER);
	be_put32(at + 8, option);
	be_put32(at + 12, type);
	be_put32(at + 16, length);
}

bool nbd_get_go(const uint8_t *data, uint32_t length, const char **name, uint32_t *name_length)
{
	if (length < 6)
		return false;
	*name_length = be_get32(data);
	*name = (const char *) data + 4;
	if (*name_length > NBD_NAME_MAX || *name_length > length - 6)
		return false;
	return length == 6 + *name_length + 2u * be_get16(data + 4 + *name_length);
}

static uint16_t abilities(const struct nbd_export *export)
{
	return (uint16_t) (CAN_HAS_FLAGS | CAN_FLUSH | CAN_FUA |
			   (export->read_only ? CAN_READ_ONLY : CAN_TRIM | CAN_WRITE_ZEROES));
}

void nbd_put_info_export(uint8_t at[NBD_INFO_EXPORT_BYTES], const struct nbd_export *export)
{
	be_put16(at, INFO_EXPORT);
	be_put64(at + 2, export->size);
	be_put16(at + 10, abilities(export));
}

void nbd_put_info_block(uint8_t at[NBD_INFO_BLOCK_BYTES])
{
	be_put16(at, INFO_BLOCK_SIZE);
	be_put32(at + 2, NBD_BLOCK_MIN);
	be_put32(at + 6, NBD_BLOCK_PREFERRED);
	be_put32(at + 10, NBD_BLOCK_MAX);
}

size_t nbd_put_export(uint8_t at[NBD_EXPORT_BYTES], const struct nbd_export *export, bool no_zeroes)
{
	memset(at, 0, NBD_EXPORT_BYTES);
	be_put64(at, export->size);
	be_put16(at + 8, abilities(export));
	return no_zeroes ? 10 : NBD_EXPORT_BYTES;
}

bool nbd_get_request(const uint8_t at[NBD_REQUEST_BYTES], struct nbd_head *head)
{
	*head = (struct nbd_head){ .flags = be_get16(at + 4),
				   .command = be_get16(at + 6),
				   .cookie = be_get64(at + 8),
				   .offset = be_get64(at + 16),
				   .length = be_get32(at + 24) };
	return be_get32(at) == MAGIC_REQUEST;
}

static uint16_t flags_for(uint16_t command)
{
	switch (command) {
	case NBD_WRITE_ZEROES:
		return NBD_FLAG_FUA | NBD_FLAG_NO_HOLE;
	case NBD_WRITE:
	case NBD_TRIM:
		return NBD_FLAG_FUA;
	default:
		return 0;
	}
}

int nbd_check_request(const struct nbd_head *head, const struct nbd_export *export)
{
	bool changes = head->command == NBD_WRITE || head->command == NBD_TRIM ||
		       head->command == NBD_WRITE_ZEROES;
	bool carries = head->command == NBD_READ || head->command == NBD_WRITE;
	/* Some clients set FUA on whatever they send. */
	if (head->flags & ~(flags_for(head->command) | NBD_FLAG_FUA))
		return EINVAL;
	if (head->command == NBD_FLUSH)
		return 0;
	if (!changes && head->command != NBD_READ)
		return EINVAL;
	if (changes && export->read_only)
		return EPERM;
	if (head->length == 0 || (carries && head->length > NBD_BLOCK_MAX))
		return EINVAL;
	if (head->offset > export->size || head->length > export->size - head->offset)
		return changes ? ENOSPC : EINVAL;
	return 0;
}

/* NBD's own numbers are Linux's, but only these exist. */
static uint32_t wire_reason(int reason)
{
	switch (reason) {
	case 0:
	case EPERM:
	case EIO:
	case ENOMEM:
	case EINVAL:
	case ENOSPC:
	case ESHUTDOWN:
		return (uint32_t) reason;
	case EROFS:
	case EACCES:
		return EPERM;
	case EDQUOT:
	case EFBIG:
		return ENOSPC;
	default:
		return EIO;
	}
}

void nbd_put_reply(uint8_t at[NBD_REPLY_BYTES], uint64_t cookie, int reason)
{
	be_put32(at, MAGIC_REPLY);
	be_put32(at + 4, wire_reason(reason));
	be_put64(at + 8, cookie);
}
