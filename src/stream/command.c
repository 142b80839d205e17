/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU_VM_COMMAND: u16 number, u16 length, data. All pass; some are understood. */
#include "base/i18n.h"
#include "stream/internal.h"

enum command {
	COMMAND_POSTCOPY_ADVISE = 3,
	COMMAND_POSTCOPY_LISTEN = 4,
	COMMAND_POSTCOPY_DISCARD = 6,
};

/* Data of 16 bytes: u64 page sizes of all RAM blocks or-ed together, u64 target page size. Empty
 * when only dirty bitmaps go postcopy. */
static enum step advise(struct stream_reader *reader, const uint8_t *data, size_t length)
{
	if (length != 16)
		return STEP_RECORD;
	uint64_t page_bytes = be_get64(data + 8);
	if (!is_page_size(page_bytes))
		return step_opaque(reader, N_("a target page size not known here"));
	if (reader->table.begun && page_bytes != reader->page_bytes)
		return step_opaque(reader, N_("the target page size changes"));
	reader->page_bytes = (uint32_t) page_bytes;
	return STEP_RECORD;
}

enum step command_read(struct stream_reader *reader, const uint8_t *bytes, size_t length,
		       struct stream_record *record)
{
	if (length < 5)
		return step_more(reader, 5);
	enum state next = STATE_ELEMENT;
	size_t data = be_get16(bytes + 3);
	if (length < 5 + data)
		return step_more(reader, 5 + data);
	record->value = be_get16(bytes + 1);
	switch (record->value) {
	case COMMAND_POSTCOPY_ADVISE:
		if (advise(reader, bytes + 5, data) == STEP_OPAQUE)
			return STEP_OPAQUE;
		break;
	case COMMAND_POSTCOPY_DISCARD:
		reader->stats.switching = true;
		break;
	case COMMAND_POSTCOPY_LISTEN:
		reader->stats.switching = reader->stats.postcopy = true;
		break;
	case COMMAND_PACKAGED:
		if (data != 4)
			return step_opaque(reader, N_("a package without a length"));
		reader->stats.switching = reader->stats.postcopy = true;
		next = blob_begin(reader, be_get32(bytes + 5), STREAM_DEVICE_STATE, STATE_ELEMENT);
		break;
	}
	return step_record(reader, record, STREAM_COMMAND, 5 + data, next);
}
