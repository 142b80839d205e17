/* SPDX-License-Identifier: Apache-2.0 */
/* Payloads of other sections that are understood, so that ram is found again after them:
 * dirty-bitmap, vfio and the early part of virtio-mem. */
#include "base/i18n.h"
#include "stream/internal.h"

enum bitmap_flag {
	BITMAP_EOS = 0x01,
	BITMAP_ZEROES = 0x02,
	BITMAP_NAME = 0x04,
	BITMAP_DEVICE = 0x08,
	BITMAP_START = 0x10,
	BITMAP_COMPLETE = 0x20,
	BITMAP_BITS = 0x40,
	BITMAP_KNOWN = 0x7f,
};

/* A chunk: u8 flags, names, then by flag START: u32 granularity, u8 flags; BITS: u64 sector, u32
 * sectors and, unless ZEROES, u64 n and n bytes. The chunk with EOS is the last. */
enum step dirty_bitmap_step(struct stream_reader *reader, const uint8_t *bytes, size_t length,
			    struct stream_record *record)
{
	size_t head = 1;
	uint8_t flags = bytes[0];
	uint64_t body = 0;
	if (flags & ~BITMAP_KNOWN)
		return step_opaque(reader, N_("a dirty-bitmap record not known here"));
	for (int name = !!(flags & BITMAP_DEVICE) + !!(flags & BITMAP_NAME); name; name--) {
		if (length < head + 1)
			return step_more(reader, head + 1);
		head += 1U + bytes[head];
	}
	if (flags & BITMAP_START)
		head += 5;
	else if (!(flags & BITMAP_COMPLETE) && flags & BITMAP_BITS)
		head += flags & BITMAP_ZEROES ? 12 : 20;
	if (length < head)
		return step_more(reader, head);
	if ((flags & (BITMAP_START | BITMAP_COMPLETE | BITMAP_BITS | BITMAP_ZEROES)) == BITMAP_BITS)
		body = be_get64(bytes + head - 8);
	enum state after = flags & BITMAP_EOS ? STATE_FOOTER : STATE_DIRTY_BITMAP;
	return step_record(reader, record, STREAM_OTHER, head,
			   blob_begin(reader, body, STREAM_OTHER, after));
}

#define VFIO_END_OF_STATE 0xffffffffef100001ULL
#define VFIO_SETUP_STATE 0xffffffffef100003ULL
#define VFIO_DATA_STATE 0xffffffffef100004ULL
#define VFIO_INIT_DATA_SENT 0xffffffffef100005ULL

enum step vfio_step(struct stream_reader *reader, const uint8_t *bytes, size_t length,
		    struct stream_record *record)
{
	if (length < 8)
		return step_more(reader, 8);
	switch (be_get64(bytes)) {
	case VFIO_END_OF_STATE:
		return step_record(reader, record, STREAM_OTHER, 8, STATE_FOOTER);
	case VFIO_SETUP_STATE:
	case VFIO_INIT_DATA_SENT:
		return step_record(reader, record, STREAM_OTHER, 8, STATE_VFIO);
	case VFIO_DATA_STATE:
		if (length < 16)
			return step_more(reader, 16);
		return step_record(
			reader, record, STREAM_OTHER, 16,
			blob_begin(reader, be_get64(bytes + 8), STREAM_OTHER, STATE_VFIO));
	default:
		return step_opaque(reader, N_("a vfio record not known here"));
	}
}

/* u64 address, u64 region size, u64 block size, u32 node, u64 size, then a bitmap of the region's
 * blocks in u64 words. */
enum step virtio_mem_step(struct stream_reader *reader, const uint8_t *bytes, size_t length,
			  struct stream_record *record)
{
	if (length < 36)
		return step_more(reader, 36);
	uint64_t region = be_get64(bytes + 8);
	uint64_t block = be_get64(bytes + 16);
	if (!block || block & (block - 1) || region & (block - 1))
		return step_opaque(reader, N_("a virtio-mem device of impossible shape"));
	uint64_t blocks = region / block;
	uint64_t words = blocks / 64 + !!(blocks % 64);
	return step_record(reader, record, STREAM_OTHER, 36,
			   blob_begin(reader, words * 8, STREAM_OTHER, STATE_FOOTER));
}
