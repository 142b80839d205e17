/* SPDX-License-Identifier: Apache-2.0 */
/* The ram section's payload: records that begin with one u64 word, flags in its low bits.
 *
 * Passes over RAM (stats.iterations). QEMU goes through its dirty pages in one direction, block by
 * block in the order of the block list and upwards within a block, and starts over at the end. So
 * a page at or before its predecessor begins a new pass, and so does the first page of ram END,
 * because QEMU takes a last look at the dirty bitmap before it. Limits of this rule:
 *   - QEMU looks for newly dirtied pages (dirty-sync-count) wherever it is and goes on from there.
 *     A look that finds pages only further on, or none, adds no pass here: the count is a lower
 *     bound of dirty-sync-count, and equal to it while every pass sends something behind.
 *   - compression threads (the old `compress`) give pages back in loose order: from the first
 *     compressed page on, which is in the first pass unless all memory is zero, a step back by less
 *     than RAM_LOOSE_PAGES pages within a block does not count, so passes over fewer are missed.
 *   - with multifd most or all pages travel on other connections: what is counted is what comes
 *     here (zero pages before QEMU 9.0, then nothing).
 *   - after the switch of postcopy pages come in the order of the faults: nothing is counted.
 */
#include "base/i18n.h"
#include "stream/internal.h"

enum ram_flag {
	RAM_ZERO = 0x002,
	RAM_MEM_SIZE = 0x004,
	RAM_PAGE = 0x008,
	RAM_EOS = 0x010,
	RAM_CONTINUE = 0x020,
	RAM_XBZRLE = 0x040,
	RAM_HOOK = 0x080,
	RAM_COMPRESSED = 0x100,
	RAM_MULTIFD_FLUSH = 0x200,
};

#define RAM_LOOSE_PAGES 256 /* QEMU has at most 255 compression threads */

/* Begin a pass where this page does not come after the one before. */
static void pass_count(struct stream_reader *reader, uint32_t block, uint64_t offset)
{
	struct ram_place *ram = &reader->ram;
	bool back = block < ram->block || (block == ram->block && offset <= ram->offset);
	if (back && ram->compressed && block == ram->block)
		back = ram->offset - offset >= (uint64_t) RAM_LOOSE_PAGES * reader->page_bytes;
	if ((back || ram->new_pass) && !reader->stats.postcopy)
		reader->stats.iterations++;
	ram->new_pass = false;
}

/* What a page-like record is: its name or the last one's, its offset. The length of that head, or
 * 0 with *step set. */
static size_t page_head(struct stream_reader *reader, const uint8_t *bytes, size_t length,
			struct stream_record *record, enum step *step)
{
	size_t head = 8;
	uint64_t word = be_get64(bytes);
	record->block = reader->ram.block;
	record->offset = word & ~(uint64_t) (reader->page_bytes - 1);
	if (!(word & RAM_CONTINUE)) {
		if (length < 9 || length < 9U + bytes[8]) {
			*step = step_more(reader, length < 9 ? 9 : 9U + bytes[8]);
			return 0;
		}
		head = 9U + bytes[8];
		record->block = block_find(&reader->table, bytes + 9, bytes[8]);
	}
	if (record->block == BLOCK_NONE) {
		*step = step_opaque(reader, N_("a page of a RAM block that was not announced"));
		return 0;
	}
	if (record->offset >= reader->table.blocks[record->block].used_bytes) {
		*step = step_opaque(reader, N_("a page past the end of its RAM block"));
		return 0;
	}
	return head;
}

static enum step page_done(struct stream_reader *reader, struct stream_record *record,
			   enum stream_kind kind, size_t length)
{
	pass_count(reader, record->block, record->offset);
	reader->ram.block = record->block;
	reader->ram.offset = record->offset;
	return step_record(reader, record, kind, length, STATE_RAM);
}

static enum step page_read(struct stream_reader *reader, const uint8_t *bytes, size_t length,
			   struct stream_record *record)
{
	enum step step;
	size_t head = page_head(reader, bytes, length, record, &step);
	if (!head)
		return step;
	if (length < head + reader->page_bytes)
		return step_more(reader, head + reader->page_bytes);
	record->page = bytes + head;
	return page_done(reader, record, STREAM_PAGE, head + reader->page_bytes);
}

static enum step zero_read(struct stream_reader *reader, const uint8_t *bytes, size_t length,
			   struct stream_record *record)
{
	enum step step;
	size_t head = page_head(reader, bytes, length, record, &step);
	if (!head)
		return step;
	if (length < head + 1)
		return step_more(reader, head + 1);
	if (bytes[head])
		return step_opaque(reader, N_("a page filled with something else than zeroes"));
	return page_done(reader, record, STREAM_ZERO_PAGE, head + 1);
}

static enum step xbzrle_read(struct stream_reader *reader, const uint8_t *bytes, size_t length,
			     struct stream_record *record)
{
	enum step step;
	size_t head = page_head(reader, bytes, length, record, &step);
	if (!head)
		return step;
	if (length < head + 3)
		return step_more(reader, head + 3);
	size_t body = be_get16(bytes + head + 1);
	if (bytes[head] != 1 || body > reader->page_bytes)
		return step_opaque(reader, N_("an XBZRLE record of a kind not known here"));
	if (length < head + 3 + body)
		return step_more(reader, head + 3 + body);
	return page_done(reader, record, STREAM_XBZRLE_PAGE, head + 3 + body);
}

static enum step compressed_read(struct stream_reader *reader, const uint8_t *bytes, size_t length,
				 struct stream_record *record)
{
	enum step step;
	size_t head = page_head(reader, bytes, length, record, &step);
	if (!head)
		return step;
	if (length < head + 4)
		return step_more(reader, head + 4);
	size_t body = be_get32(bytes + head);
	if (body > reader->page_bytes + reader->page_bytes / 512 + 64) /* zlib's worst case */
		return step_opaque(reader, N_("a compressed page of impossible length"));
	if (length < head + 4 + body)
		return step_more(reader, head + 4 + body);
	if (!reader->ram.compressed)
		reader->stats.iterations = 0; /* what was counted was loose order */
	reader->ram.new_pass |= !reader->ram.compressed;
	reader->ram.compressed = true;
	return page_done(reader, record, STREAM_COMPRESSED_PAGE, head + 4 + body);
}

static enum step mem_size_read(struct stream_reader *reader, const uint8_t *bytes, size_t length,
			       struct stream_record *record)
{
	return block_list_begin(reader, be_get64(bytes) & ~(uint64_t) (reader->page_bytes - 1),
				record);
}

static enum step eos_read(struct stream_reader *reader, const uint8_t *bytes, size_t length,
			  struct stream_record *record)
{
	return step_record(reader, record, STREAM_RAM_END, 8, STATE_FOOTER);
}

static enum step mark_read(struct stream_reader *reader, const uint8_t *bytes, size_t length,
			   struct stream_record *record)
{
	return step_record(reader, record, STREAM_RAM_MARK, 8, STATE_RAM);
}

/* The flags without CONTINUE, which goes with the page-like ones only. */
static const struct {
	enum ram_flag flag;
	bool page;
	state_step *read;
} ram_records[] = {
	{ RAM_PAGE, true, page_read },
	{ RAM_ZERO, true, zero_read },
	{ RAM_EOS, false, eos_read },
	{ RAM_XBZRLE, true, xbzrle_read },
	{ RAM_COMPRESSED, true, compressed_read },
	{ RAM_MULTIFD_FLUSH, false, mark_read },
	{ RAM_MEM_SIZE, false, mem_size_read },
};

enum step ram_step(struct stream_reader *reader, const uint8_t *bytes, size_t length,
		   struct stream_record *record)
{
	if (length < 8)
		return step_more(reader, 8);
	uint32_t flags = (uint32_t) be_get64(bytes) & (reader->page_bytes - 1);
	uint32_t plain = flags & ~(uint32_t) RAM_CONTINUE;
	for (size_t i = 0; i < sizeof(ram_records) / sizeof(ram_records[0]); i++)
		if (plain == ram_records[i].flag && (ram_records[i].page || plain == flags))
			return ram_records[i].read(reader, bytes, length, record);
	return step_opaque(reader, flags == RAM_HOOK ? N_("a record of the RDMA transport")
						     : N_("a ram record not known here"));
}
